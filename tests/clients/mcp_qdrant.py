"""Its connector (store and find, named vector, index, filter) with an embedder of ours: its own needs a download."""
# /// script
# dependencies = ["mcp-server-qdrant"]
# [tool.works-with]
# client = "mcp-server-qdrant"
# package = "mcp-server-qdrant"
# servers = ["qdrant"]
# ///

import asyncio
import os
import uuid

from mcp_server_qdrant.embeddings.base import EmbeddingProvider
from mcp_server_qdrant.qdrant import Entry, QdrantConnector
from qdrant_client import models

WORDS = ["parse", "json", "cat", "dog", "file"]


class Counted(EmbeddingProvider):
    """A vector of how often each word is in a text."""

    async def embed_documents(self, documents):
        return [[float(text.count(word)) + 0.01 for word in WORDS] for text in documents]

    async def embed_query(self, query):
        return (await self.embed_documents([query]))[0]

    def get_vector_name(self):
        return "fast-counted"

    def get_vector_size(self):
        return len(WORDS)


async def main():
    name = "works-with-" + uuid.uuid4().hex[:8]
    indexes = {"metadata.n": models.PayloadSchemaType.INTEGER}
    connector = QdrantConnector(os.environ["QDRANT_URL"], None, name, Counted(), field_indexes=indexes)
    assert await connector.search("json") == []
    for n, text in enumerate(["parse a json file", "a cat and a dog", "a file of a cat"]):
        await connector.store(Entry(content=text, metadata={"n": n}))
    found = await connector.search("json", limit=1)
    assert found == [Entry(content="parse a json file", metadata={"n": 0})], found
    only = models.Filter(must=[models.FieldCondition(key="metadata.n", match=models.MatchValue(value=1))])
    assert [entry.content for entry in await connector.search("cat", query_filter=only)] == ["a cat and a dog"]
    assert name in await connector.get_collection_names()
    await connector._client.delete_collection(name)


asyncio.run(main())
