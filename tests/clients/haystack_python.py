"""OpenAI's text and document embedder, and HuggingFaceAPI's against the TEI calls."""
# /// script
# dependencies = ["haystack-ai=={version}", "huggingface-hub<1"]
# [tool.works-with]
# client = "haystack"
# package = "haystack-ai"
# servers = ["embeddings"]
# versions = ["2.31.0"]
# ///

import os

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
from haystack import Document
from haystack.components.embedders import (
    HuggingFaceAPIDocumentEmbedder,
    HuggingFaceAPITextEmbedder,
    OpenAIDocumentEmbedder,
    OpenAITextEmbedder,
)
from haystack.utils import Secret

url, model = os.environ["EMBEDDING_URL"], os.environ["EMBEDDING_MODEL"]
documents = [Document(content="def add(a, b): return a + b"), Document(content="a cat")]
question = "a function that adds two numbers"
openai = {"api_key": Secret.from_token("local"), "api_base_url": url + "/v1", "model": model}
tei = {"api_type": "text_embeddings_inference", "api_params": {"url": url}, "token": None}
pairs = [
    (OpenAITextEmbedder(**openai), OpenAIDocumentEmbedder(**openai)),
    (HuggingFaceAPITextEmbedder(**tei), HuggingFaceAPIDocumentEmbedder(**tei)),
]
for text_embedder, document_embedder in pairs:
    query = text_embedder.run(text=question)["embedding"]
    rows = [one.embedding for one in document_embedder.run(documents=documents)["documents"]]
    assert [len(row) for row in rows] == [384, 384]
    near, far = (sum(a * b for a, b in zip(query, row)) for row in rows)  # noqa: B905
    assert near > far
