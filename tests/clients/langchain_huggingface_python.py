"""HuggingFaceEndpointEmbeddings (the class for TEI): documents and a query (from 1.1 on by `client`)."""
# /// script
# dependencies = ["langchain-huggingface=={version}", "numpy"]
# [tool.works-with]
# client = "langchain-huggingface (TEI)"
# package = "langchain-huggingface"
# servers = ["embeddings"]
# versions = ["1.2.3", "0.3.1"]
# ///

import os

from huggingface_hub import InferenceClient
from langchain_huggingface import HuggingFaceEndpointEmbeddings

url = os.environ["EMBEDDING_URL"]
try:
    embeddings = HuggingFaceEndpointEmbeddings(model=url)
except ValueError:  # from 1.1 on it takes no address: its client does
    embeddings = HuggingFaceEndpointEmbeddings()
    embeddings.client = InferenceClient(model=url)
documents = embeddings.embed_documents(["def add(a, b):\n    return a + b", "a cat"])
assert [len(row) for row in documents] == [384, 384]
query = embeddings.embed_query("a function that adds two numbers")
near, far = (sum(a * b for a, b in zip(query, row)) for row in documents)  # noqa: B905
assert near > far
