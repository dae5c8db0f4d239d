"""vectordb.qdrant.Qdrant: create, insert, search with a filter, exists by hash, update and delete by metadata."""
# /// script
# dependencies = ["agno", "qdrant-client", "openai"]
# [tool.works-with]
# client = "agno (Qdrant)"
# package = "agno"
# servers = ["qdrant"]
# ///

import os
import uuid

from agno.knowledge.document import Document
from agno.knowledge.embedder import Embedder
from agno.vectordb.qdrant import Qdrant

WORDS = ["parse", "json", "cat", "dog", "file"]


class Counted(Embedder):
    """A vector of how often each word is in a text."""

    def get_embedding(self, text):
        return [float(text.count(word)) + 0.01 for word in WORDS]

    def get_embedding_and_usage(self, text):
        return self.get_embedding(text), None


name = "works-with-" + uuid.uuid4().hex[:8]
store = Qdrant(name, embedder=Counted(dimensions=len(WORDS)), url=os.environ["QDRANT_URL"])
assert not store.exists()
store.create()
assert store.exists()
texts = ["parse a json file", "a cat and a dog", "a file of a cat"]
documents = [
    Document(content=text, name=f"d{n}", meta_data={"n": n}, content_id=f"c{n}") for n, text in enumerate(texts)
]
store.insert("hash", documents)
assert store.get_count() == 3
assert store.search("json", limit=1)[0].content == texts[0]
assert [found.content for found in store.search("cat", limit=3, filters={"n": 1})] == [texts[1]]
assert store.content_hash_exists("hash")
assert store.name_exists("d2")
store.update_metadata("c2", {"seen": True})
assert store.delete_by_name("d0")
assert store.delete_by_metadata({"n": 1})
assert store.get_count() == 1
store.upsert("hash", documents)
assert store.get_count() == 3
store.drop()
assert not store.exists()
