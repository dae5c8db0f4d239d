"""QdrantVectorStore: add, query with a filter, hybrid, delete by document, get nodes."""
# /// script
# dependencies = ["llama-index-vector-stores-qdrant=={version}"]
# [tool.works-with]
# client = "llama-index-vector-stores-qdrant"
# package = "llama-index-vector-stores-qdrant"
# servers = ["qdrant"]
# versions = ["0.10.4"]
# ///

import os
import uuid

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

WORDS = ["parse", "json", "cat", "dog", "file"]


def dense(text):
    return [float(text.count(word)) + 0.01 for word in WORDS]


def sparse(texts):
    found = [[i for i, word in enumerate(WORDS) if word in text] for text in texts]
    return found, [[1.0] * len(row) for row in found]


texts = ["parse a json file", "a cat and a dog", "a file of a cat"]
client = QdrantClient(url=os.environ["QDRANT_URL"])
for hybrid in (False, True):
    name = "works-with-" + uuid.uuid4().hex[:8]
    more = {"enable_hybrid": True, "sparse_doc_fn": sparse, "sparse_query_fn": sparse} if hybrid else {}
    store = QdrantVectorStore(name, client=client, **more)
    nodes = []
    for n, text in enumerate(texts):
        node = TextNode(text=text, id_=str(uuid.uuid4()), metadata={"n": n}, embedding=dense(text))
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"doc{n}")
        nodes.append(node)
    store.add(nodes)
    mode = VectorStoreQueryMode.HYBRID if hybrid else VectorStoreQueryMode.DEFAULT
    query = VectorStoreQuery(
        query_embedding=dense("json"), query_str="json", similarity_top_k=1, sparse_top_k=2, mode=mode
    )
    assert store.query(query).nodes[0].get_content() == texts[0]
    only = MetadataFilters(filters=[MetadataFilter(key="n", value=1, operator=FilterOperator.EQ)])
    found = store.query(VectorStoreQuery(query_embedding=dense("cat"), similarity_top_k=3, filters=only)).nodes
    assert [node.get_content() for node in found] == [texts[1]]
    assert len(store.get_nodes([nodes[0].node_id])) == 1
    store.delete("doc0")
    assert client.count(name).count == 2
    client.delete_collection(name)
