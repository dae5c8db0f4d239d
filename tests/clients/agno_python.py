"""OpenAIEmbedder and OllamaEmbedder with our addresses give the same vectors."""
# /// script
# dependencies = ["agno=={version}", "openai", "ollama"]
# [tool.works-with]
# client = "agno"
# package = "agno"
# servers = ["embeddings"]
# versions = ["3.1.10"]
# ///

import os

from agno.knowledge.embedder.ollama import OllamaEmbedder
from agno.knowledge.embedder.openai import OpenAIEmbedder

url, model = os.environ["EMBEDDING_URL"], os.environ["EMBEDDING_MODEL"]
openai = OpenAIEmbedder(id=model, base_url=url + "/v1", api_key="local", dimensions=384)
ollama = OllamaEmbedder(id=model, host=url, dimensions=384)
first, second = (embedder.get_embedding("def add(a, b): return a + b") for embedder in (openai, ollama))
assert len(first) == len(second) == 384
assert all(abs(a - b) < 1e-5 for a, b in zip(first, second))  # noqa: B905
row, usage = openai.get_embedding_and_usage("a cat")
assert len(row) == 384
assert usage["total_tokens"] > 0
