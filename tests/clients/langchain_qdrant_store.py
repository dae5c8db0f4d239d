"""QdrantVectorStore: from_texts, dense, sparse and hybrid search, a filter, MMR, delete."""
# /// script
# dependencies = ["langchain-qdrant=={version}"]
# [tool.works-with]
# client = "langchain-qdrant"
# package = "langchain-qdrant"
# servers = ["qdrant"]
# versions = ["1.1.0", "0.2.1"]
# ///

import os
import uuid

from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings, SparseVector
from qdrant_client import models

WORDS = ["parse", "json", "cat", "dog", "file"]


class Counted(Embeddings):
    """A vector of how often each word is in a text."""

    def embed_query(self, text):
        return [float(text.count(word)) + 0.01 for word in WORDS]

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]


class Words(SparseEmbeddings):
    def embed_query(self, text):
        found = [i for i, word in enumerate(WORDS) if word in text]
        return SparseVector(indices=found, values=[1.0] * len(found))

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]


texts = ["parse a json file", "a cat and a dog", "a file of a cat"]
for mode in (RetrievalMode.DENSE, RetrievalMode.HYBRID):
    store = QdrantVectorStore.from_texts(
        texts,
        Counted(),
        sparse_embedding=Words(),
        retrieval_mode=mode,
        metadatas=[{"n": n} for n in range(3)],
        url=os.environ["QDRANT_URL"],
        collection_name="works-with-" + uuid.uuid4().hex[:8],
    )
    assert store.similarity_search("json", k=1)[0].page_content == texts[0]
    only = models.Filter(must=[models.FieldCondition(key="metadata.n", match=models.MatchValue(value=1))])
    assert [d.page_content for d in store.similarity_search("cat", k=3, filter=only)] == [texts[1]]
    assert store.similarity_search_with_score("dog", k=1)[0][0].metadata["n"] == 1
    if mode == RetrievalMode.DENSE:
        assert len(store.max_marginal_relevance_search("cat", k=2, fetch_k=3)) == 2
    (made,) = store.add_texts(["a dog of json"])
    assert store.get_by_ids([made])[0].page_content == "a dog of json"
    assert store.delete([made])
    store.client.delete_collection(store.collection_name)
