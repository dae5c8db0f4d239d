"""Embedder with the OpenAI provider: documents and a query, with the tokens that they cost."""
# /// script
# dependencies = ["pydantic-ai-slim[openai]=={version}"]
# [tool.works-with]
# client = "pydantic-ai"
# package = "pydantic-ai-slim"
# servers = ["embeddings"]
# versions = ["2.68.0"]
# ///

import os

from pydantic_ai import Embedder
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=os.environ["EMBEDDING_URL"] + "/v1", api_key="local")
embedder = Embedder(OpenAIEmbeddingModel(os.environ["EMBEDDING_MODEL"], provider=provider))
documents = embedder.embed_documents_sync(["def add(a, b): return a + b", "a cat"])
query = embedder.embed_query_sync("a function that adds two numbers")
near, far = (sum(x * y for x, y in zip(row, query.embeddings[0], strict=True)) for row in documents.embeddings)
assert len(documents.embeddings[0]) == 384
assert near > far
assert documents.usage.input_tokens > 0
