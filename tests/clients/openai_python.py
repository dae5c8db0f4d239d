"""embeddings as base64 (its default) and floats, models, the errors of an unknown model and of wrong dimensions."""
# /// script
# dependencies = ["openai=={version}", "numpy", "httpx<0.28"]
# [tool.works-with]
# client = "openai"
# package = "openai"
# servers = ["embeddings"]
# versions = ["3.57.0", "2.8.1", "1.109.1", "1.40.0"]
# ///

import math
import os

import openai

model = os.environ["EMBEDDING_MODEL"]
client = openai.OpenAI(base_url=os.environ["EMBEDDING_URL"] + "/v1", api_key="local")
texts = ["def add(a, b): return a + b", "a cat"]
answer = client.embeddings.create(model=model, input=texts)
assert [len(row.embedding) for row in answer.data] == [384, 384]
assert all(math.isclose(math.hypot(*row.embedding), 1, abs_tol=1e-5) for row in answer.data)
assert answer.usage.prompt_tokens > 0
floats = client.embeddings.create(model=model, input=texts, encoding_format="float")
assert all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(floats.data[0].embedding, answer.data[0].embedding))  # noqa: B905
assert model in [entry.id for entry in client.models.list()]
assert client.models.retrieve(model).id == model
slashed = openai.OpenAI(base_url=os.environ["EMBEDDING_URL"] + "/v1/", api_key="local")
assert slashed.embeddings.create(model="openai/" + model.upper(), input="a cat").data[0].embedding
refused = []
for wrong in ({"model": "no-such-model", "input": "a"}, {"model": model, "input": "a", "dimensions": 100}):
    try:
        client.embeddings.create(**wrong)
    except openai.APIStatusError as error:
        refused.append((error.status_code, str(error)))
assert [status for status, _ in refused] == [404, 400], refused
assert "is not served here" in refused[0][1]
assert "was not trained for 100 dimensions" in refused[1][1]
