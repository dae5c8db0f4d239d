"""embed with one text and several, embeddings, list, show, ps, and the error of an unknown model."""
# /// script
# dependencies = ["ollama=={version}"]
# [tool.works-with]
# client = "ollama"
# package = "ollama"
# servers = ["embeddings"]
# versions = ["0.6.1", "0.4.7"]
# ///

import math
import os

import ollama

client = ollama.Client(host=os.environ["EMBEDDING_URL"])
model = os.environ["EMBEDDING_MODEL"]
answer = client.embed(model=model, input=["def add(a, b): return a + b", "a cat"], options={"num_thread": 2})
assert len(answer.embeddings) == 2
assert all(math.isclose(math.hypot(*row), 1, abs_tol=1e-5) for row in answer.embeddings)
assert answer.prompt_eval_count > 0
(single,) = client.embed(model=model + ":latest", input="a cat").embeddings
assert math.isclose(sum(a * b for a, b in zip(single, answer.embeddings[1], strict=True)), 1, abs_tol=1e-5)
old = client.embeddings(model=model, prompt="a cat").embedding
assert math.isclose(sum(a * b for a, b in zip(single, old, strict=True)), 1, abs_tol=1e-5)
assert [entry.model for entry in client.list().models] == [model + ":latest"]
assert [entry.model for entry in client.ps().models] == [model + ":latest"]
assert client.show(model).modelinfo["bert.embedding_length"] == len(single)
refused = None
try:
    client.embed(model="no-such-model", input="a")
except ollama.ResponseError as error:
    refused = error
assert refused is not None
assert refused.status_code == 404
assert "is not served here" in refused.error
