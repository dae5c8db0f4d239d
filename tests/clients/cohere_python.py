"""embed and rerank of the v1 and the v2 client, with every type of number, and the error of an unknown model."""
# /// script
# dependencies = ["cohere=={version}"]
# [tool.works-with]
# client = "cohere"
# package = "cohere"
# servers = ["rerank"]
# versions = ["7.3.1", "5.21.1"]
# ///

import math
import os

import cohere

url, model = os.environ["EMBEDDING_URL"], os.environ["EMBEDDING_MODEL"]
two = cohere.ClientV2(api_key="local", base_url=url)
texts = ["def add(a, b): return a + b", "a cat"]
kinds = ["float", "int8", "uint8", "binary", "ubinary"]
answer = two.embed(model=model, texts=texts, input_type="search_document", embedding_types=kinds)
assert [len(row) for row in answer.embeddings.float_] == [384, 384]
assert all(math.isclose(math.hypot(*row), 1, abs_tol=1e-5) for row in answer.embeddings.float_)
assert len(answer.embeddings.int8[0]) == len(answer.embeddings.uint8[0]) == 384
assert len(answer.embeddings.binary[0]) == len(answer.embeddings.ubinary[0]) == 48
one = cohere.Client(api_key="local", base_url=url)
plain = one.embed(model=model, texts=texts, input_type="search_document").embeddings
assert all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(plain[0], answer.embeddings.float_[0], strict=True))
refused = None
try:
    two.embed(model="no-such-model", texts=texts, input_type="search_query", embedding_types=["float"])
except cohere.NotFoundError as error:
    refused = error
assert refused is not None
assert "is not served here" in str(refused.body)

documents = ["def add(a, b): return a + b", "a cat", "import os"]
reranker = os.environ["RERANK_MODEL"]
ranking = two.rerank(model=reranker, query="add two numbers", documents=documents, top_n=2)
assert len(ranking.results) == 2
assert ranking.results[0].relevance_score >= ranking.results[1].relevance_score
objects = [{"text": text} for text in documents]
older = one.rerank(model=reranker, query="add two numbers", documents=objects, return_documents=True)
assert [row.index for row in older.results][:2] == [row.index for row in ranking.results]
assert older.results[0].document.text == documents[older.results[0].index]
