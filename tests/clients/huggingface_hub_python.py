"""InferenceClient against a TEI address: feature_extraction, sentence_similarity, and the error of a wrong text."""
# /// script
# dependencies = ["huggingface-hub=={version}", "numpy"]
# [tool.works-with]
# client = "huggingface_hub InferenceClient (TEI)"
# package = "huggingface-hub"
# servers = ["embeddings"]
# versions = ["2.4.0", "1.1.7", "0.36.0"]
# ///

import os

import numpy as np
from huggingface_hub import InferenceClient

url = os.environ["EMBEDDING_URL"]
client = InferenceClient(model=url)
row = client.feature_extraction("def add(a, b): return a + b", normalize=True, truncate=True)
assert np.shape(row) == (1, 384)
assert abs(np.linalg.norm(row) - 1) < 1e-5
at_path = InferenceClient(model=url + "/embed").feature_extraction("def add(a, b): return a + b")
assert np.allclose(at_path, row, atol=1e-6)
sentences = ["a function that adds two numbers", "a cat"]
near, far = InferenceClient(model=url + "/similarity").sentence_similarity(
    "def add(a, b): return a + b", other_sentences=sentences
)
assert near > far
refused = ""
try:
    client.feature_extraction("a", prompt_name="no-such-prompt")
except Exception as error:
    refused = str(error)
assert "no-such-prompt" in refused, refused
