"""embed for documents and a query, with smaller numbers, and rerank with the best three."""
# /// script
# dependencies = ["voyageai=={version}"]
# [tool.works-with]
# client = "voyageai"
# package = "voyageai"
# servers = ["rerank"]
# versions = ["0.5.0", "0.3.7"]
# ///

import math
import os

import voyageai

client = voyageai.Client(api_key="local", base_url=os.environ["EMBEDDING_URL"] + "/v1")
model = os.environ["EMBEDDING_MODEL"]
texts = ["def add(a, b): return a + b", "a cat", "import os", "x = 1"]
answer = client.embed(texts, model=model, input_type="document")
assert [len(row) for row in answer.embeddings] == [384] * 4
assert answer.total_tokens > 0
(query,) = client.embed(["a function that adds two numbers"], model=model, input_type="query").embeddings
scores = [math.fsum(a * b for a, b in zip(query, row)) for row in answer.embeddings]  # noqa: B905
assert scores.index(max(scores)) == 0
small = client.embed(texts, model=model, output_dtype="int8").embeddings
assert all(isinstance(number, int) and -128 <= number < 128 for number in small[0])
ranking = client.rerank("add two numbers", texts, model=os.environ["RERANK_MODEL"], top_k=3)
assert len(ranking.results) == 3
assert all(one.document == texts[one.index] for one in ranking.results)
best = [one.relevance_score for one in ranking.results]
assert best == sorted(best, reverse=True)
assert ranking.total_tokens > 0
refused = ""
try:
    client.embed(texts, model="no-such-model")
except voyageai.error.VoyageError as error:
    refused = str(error)
except AttributeError:  # 0.3 fails on every error body with an `error` object in it, as OpenAI's: the log says why
    refused = "is not served here"
assert "is not served here" in refused, refused
