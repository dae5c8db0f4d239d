"""OllamaEmbeddings: documents and a query, with the check of the model at start."""
# /// script
# dependencies = ["langchain-ollama=={version}"]
# [tool.works-with]
# client = "langchain-ollama"
# package = "langchain-ollama"
# servers = ["embeddings"]
# versions = ["1.1.0", "0.3.10"]
# ///

import os

from langchain_ollama import OllamaEmbeddings

embeddings = OllamaEmbeddings(
    base_url=os.environ["EMBEDDING_URL"], model=os.environ["EMBEDDING_MODEL"], validate_model_on_init=True
)
documents = embeddings.embed_documents(["def add(a, b): return a + b", "a cat"])
assert [len(row) for row in documents] == [384, 384]
query = embeddings.embed_query("a function that adds two numbers")
near, far = (sum(a * b for a, b in zip(query, row)) for row in documents)  # noqa: B905
assert near > far
short = OllamaEmbeddings(base_url=os.environ["EMBEDDING_URL"], model="all-minilm")
assert len(short.embed_query("a cat")) == 384
