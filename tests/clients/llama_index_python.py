"""OpenAIEmbedding with a model of ours, OpenAILikeEmbedding, OllamaEmbedding, TextEmbeddingsInference; TEI rerank."""
# /// script
# dependencies = [
#   "llama-index-embeddings-openai-like",
#   "llama-index-embeddings-ollama",
#   "llama-index-core=={version}",
#   "llama-index-embeddings-text-embeddings-inference",
#   "llama-index-postprocessor-tei-rerank",
# ]
# [tool.works-with]
# client = "llama-index (openai, ollama, TEI)"
# package = "llama-index-core"
# servers = ["rerank"]
# versions = ["0.14.10"]
# ///

import os

from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference as TeiRerank

url, model = os.environ["EMBEDDING_URL"], os.environ["EMBEDDING_MODEL"]
texts = ["def add(a, b): return a + b", "a cat"]
question = "a function that adds two numbers"
embedders = [
    OpenAIEmbedding(model_name=model, api_base=url + "/v1", api_key="local"),
    OpenAILikeEmbedding(model_name=model, api_base=url + "/v1", api_key="local"),
    OllamaEmbedding(model_name=model, base_url=url),
    TextEmbeddingsInference(model_name=model, base_url=url),
]
first = embedders[0].get_text_embedding_batch(texts)
for embedder in embedders:
    rows = embedder.get_text_embedding_batch(texts)
    assert [len(row) for row in rows] == [384, 384], embedder
    assert all(abs(a - b) < 1e-5 for a, b in zip(rows[0], first[0])), embedder  # noqa: B905
    query = embedder.get_query_embedding(question)
    near, far = (sum(a * b for a, b in zip(query, row)) for row in rows)  # noqa: B905
    assert near > far, embedder
nodes = [NodeWithScore(node=TextNode(text=text), score=0.0) for text in [*texts, "import os"]]
best = TeiRerank(base_url=url, top_n=2).postprocess_nodes(nodes, query_str=question)
assert len(best) == 2
assert best[0].score >= best[1].score
