"""embeddings of a deployment (openai.AzureOpenAI), sync and async, by key and by a token provider."""
# /// script
# dependencies = ["openai=={version}", "httpx<0.28"]
# [tool.works-with]
# client = "openai (AzureOpenAI)"
# package = "openai"
# servers = ["embeddings"]
# versions = ["3.57.0", "1.109.1"]
# ///

import asyncio
import math
import os

import openai

url, model = os.environ["EMBEDDING_URL"], os.environ["EMBEDDING_MODEL"]
client = openai.AzureOpenAI(azure_endpoint=url, api_key="local", api_version="2024-10-21")
answer = client.embeddings.create(model=model, input=["a", "b"])
assert [len(row.embedding) for row in answer.data] == [384, 384]
deployed = openai.AzureOpenAI(
    azure_endpoint=url + "/",
    azure_deployment=model,
    azure_ad_token_provider=lambda: "token",
    api_version="2024-10-21",
)
again = deployed.embeddings.create(model=model, input="a")
assert math.isclose(
    sum(x * y for x, y in zip(again.data[0].embedding, answer.data[0].embedding)),  # noqa: B905
    1,
    abs_tol=1e-5,
)


async def main() -> None:
    client = openai.AsyncAzureOpenAI(azure_endpoint=url, api_key="local", api_version="2024-10-21")
    found = await asyncio.gather(*(client.embeddings.create(model=model, input=[str(i)]) for i in range(8)))
    assert all(len(one.data[0].embedding) == 384 for one in found)


asyncio.run(main())
