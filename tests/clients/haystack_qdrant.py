"""QdrantDocumentStore and its retrievers: write, filter, dense, sparse, hybrid, delete, a document without a vector."""
# /// script
# dependencies = ["qdrant-haystack=={version}"]
# [tool.works-with]
# client = "qdrant-haystack"
# package = "qdrant-haystack"
# servers = ["qdrant"]
# versions = ["13.1.0"]
# ///

import os
import uuid

from haystack import Document
from haystack.dataclasses import SparseEmbedding
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.components.retrievers.qdrant import (
    QdrantEmbeddingRetriever,
    QdrantHybridRetriever,
    QdrantSparseEmbeddingRetriever,
)
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

store = QdrantDocumentStore(
    url=os.environ["QDRANT_URL"],
    index="works-with-" + uuid.uuid4().hex[:8],
    embedding_dim=3,
    use_sparse_embeddings=True,
    sparse_idf=True,
    wait_result_from_api=True,
)
documents = [
    Document(
        content=f"text {n}",
        embedding=[1.0, n / 10, 0.0],
        sparse_embedding=SparseEmbedding(indices=[n, 9], values=[1.0, 0.5]),
        meta={"n": n},
    )
    for n in range(5)
]
assert store.write_documents([*documents, Document(content="bare")], policy=DuplicatePolicy.OVERWRITE) == 6
assert store.count_documents() == 6
chosen = {"field": "meta.n", "operator": ">", "value": 2}
assert sorted(d.content for d in store.filter_documents(chosen)) == ["text 3", "text 4"]
dense = QdrantEmbeddingRetriever(document_store=store, top_k=2)
assert [d.content for d in dense.run(query_embedding=[1.0, 0.0, 0.0])["documents"]] == ["text 0", "text 1"]
sparse = QdrantSparseEmbeddingRetriever(document_store=store, top_k=1)
wanted = SparseEmbedding(indices=[3], values=[1.0])
assert sparse.run(query_sparse_embedding=wanted)["documents"][0].content == "text 3"
hybrid = QdrantHybridRetriever(document_store=store, top_k=2)
assert len(hybrid.run(query_embedding=[1.0, 0.0, 0.0], query_sparse_embedding=wanted)["documents"]) == 2
store.delete_documents([documents[0].id])
assert store.count_documents() == 5
