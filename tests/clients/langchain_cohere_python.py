"""CohereEmbeddings and CohereRerank with a base URL of ours."""
# /// script
# dependencies = ["langchain-cohere=={version}"]
# [tool.works-with]
# client = "langchain-cohere"
# package = "langchain-cohere"
# servers = ["rerank"]
# versions = ["0.5.0"]
# ///

import os

import cohere
from langchain_cohere import CohereEmbeddings, CohereRerank

url, model = os.environ["EMBEDDING_URL"], os.environ["EMBEDDING_MODEL"]
embeddings = CohereEmbeddings(model=model, base_url=url, cohere_api_key="local", user_agent="works-with")
rows = embeddings.embed_documents(["def add(a, b): return a + b", "a cat"])
query = embeddings.embed_query("a function that adds two numbers")
near, far = (sum(a * b for a, b in zip(query, row)) for row in rows)  # noqa: B905
assert near > far
client = cohere.ClientV2(api_key="local", base_url=url)
reranker = CohereRerank(model=os.environ["RERANK_MODEL"], client=client, cohere_api_key="local", top_n=2)
best = reranker.rerank(["def add(a, b): return a + b", "a cat", "import os"], "add two numbers")
assert len(best) == 2
assert best[0]["relevance_score"] >= best[1]["relevance_score"]
