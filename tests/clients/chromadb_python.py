"""A collection with OpenAIEmbeddingFunction; Ollama's function and HuggingFaceEmbeddingServer give the same rows."""
# /// script
# dependencies = ["chromadb=={version}", "openai", "ollama", "httpx"]
# [tool.works-with]
# client = "chromadb"
# package = "chromadb"
# servers = ["embeddings"]
# versions = ["1.5.9"]
# ///

import os

import chromadb
import numpy as np
from chromadb.utils import embedding_functions as functions

url, model = os.environ["EMBEDDING_URL"], os.environ["EMBEDDING_MODEL"]
os.environ |= {"LOCAL_KEY": "local"}
texts = ["def add(a, b): return a + b", "a cat"]
openai = functions.OpenAIEmbeddingFunction(api_key_env_var="LOCAL_KEY", api_base=url + "/v1", model_name=model)
made = {
    "openai": openai,
    "ollama": functions.OllamaEmbeddingFunction(url=url, model_name=model),
    "huggingface server": functions.HuggingFaceEmbeddingServer(url=url + "/embed"),
}
rows = {name: np.array(function(texts)) for name, function in made.items()}
for name, found in rows.items():
    assert found.shape == (2, 384), name
    assert np.allclose(found, rows["openai"], atol=1e-5), name
collection = chromadb.EphemeralClient().create_collection("works-with", embedding_function=openai)
collection.add(ids=["1", "2"], documents=texts)
answer = collection.query(query_texts=["a function that adds two numbers"], n_results=2)
assert answer["ids"] == [["1", "2"]]
