"""HuggingFaceEndpointEmbeddings (the class for TEI): documents and a query."""
# /// script
# dependencies = ["langchain-huggingface=={version}"]
# [tool.works-with]
# client = "langchain-huggingface (TEI)"
# package = "langchain-huggingface"
# servers = ["embeddings"]
# versions = ["1.2.3", "0.3.1"]
# ///

import os

from langchain_huggingface import HuggingFaceEndpointEmbeddings

embeddings = HuggingFaceEndpointEmbeddings(model=os.environ["EMBEDDING_URL"])
documents = embeddings.embed_documents(["def add(a, b):\n    return a + b", "a cat"])
assert [len(row) for row in documents] == [384, 384]
query = embeddings.embed_query("a function that adds two numbers")
near, far = (sum(a * b for a, b in zip(query, row)) for row in documents)  # noqa: B905
assert near > far
