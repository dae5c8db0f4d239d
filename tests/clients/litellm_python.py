"""embedding as openai, hosted_vllm, lm_studio, infinity, jina_ai, ollama; rerank as cohere, jina_ai, hosted_vllm"""
# /// script
# dependencies = ["litellm=={version}"]
# [tool.works-with]
# client = "litellm"
# package = "litellm"
# servers = ["rerank"]
# versions = ["1.110.2"]
# ///

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

url, model, reranker = (os.environ[name] for name in ("EMBEDDING_URL", "EMBEDDING_MODEL", "RERANK_MODEL"))
texts = ["def add(a, b): return a + b", "a cat"]
bases = {
    "openai": url + "/v1",
    "hosted_vllm": url + "/v1",
    "lm_studio": url + "/v1",
    "infinity": url,
    "jina_ai": url + "/v1/embeddings",
    "ollama": url,
}
first = None  # not as voyage/: litellm sends that without a Content-Type, which the guard against web pages refuses
for provider, base in bases.items():
    answer = litellm.embedding(f"{provider}/{model}", input=texts, api_base=base, api_key="local")
    rows = [row["embedding"] for row in answer.data]
    assert [len(row) for row in rows] == [384, 384], provider
    first = first or rows
    assert all(abs(a - b) < 1e-5 for a, b in zip(rows[1], first[1])), provider  # noqa: B905
rerankers = {"cohere": url, "jina_ai": url + "/v1/rerank", "hosted_vllm": url}
orders = {}
for provider, base in rerankers.items():
    answer = litellm.rerank(
        f"{provider}/{reranker}", query="add", documents=[*texts, "import os"], top_n=2, api_base=base, api_key="local"
    )
    orders[provider] = [row["index"] for row in answer.results]
    assert len(orders[provider]) == 2, provider
assert len({tuple(order) for order in orders.values()}) == 1, orders
