"""OpenAIEmbeddings: its default (foreign token ids) is refused with the setting that helps; with that it embeds."""
# /// script
# dependencies = ["langchain-openai=={version}"]
# [tool.works-with]
# client = "langchain-openai"
# package = "langchain-openai"
# servers = ["embeddings"]
# versions = ["1.7.4", "0.3.35"]
# ///

import math
import os

import openai
import tiktoken
from langchain_openai import OpenAIEmbeddings

options = {
    "base_url": os.environ["EMBEDDING_URL"] + "/v1",
    "api_key": "local",
    "model": os.environ["EMBEDDING_MODEL"],
}


class Bytes:
    """Stands in for cl100k_base where the file of that vocabulary cannot be had: ids of another tokenizer."""

    def encode(self, text: str, **_: object) -> list[int]:
        return [755, 923, 2948, *text.encode()]

    encode_ordinary = encode


try:
    tiktoken.get_encoding("cl100k_base")
except Exception:
    tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_: Bytes()
refused = ""
try:
    OpenAIEmbeddings(**options).embed_query("def add(a, b): return a + b")
except openai.BadRequestError as error:
    refused = str(error)
assert "check_embedding_ctx_length=False" in refused, refused
embeddings = OpenAIEmbeddings(**options, check_embedding_ctx_length=False)
documents = embeddings.embed_documents(["def add(a, b): return a + b", "a cat"])
assert [len(row) for row in documents] == [384, 384]
query = embeddings.embed_query("a function that adds two numbers")
near, far = (sum(a * b for a, b in zip(query, row)) for row in documents)  # noqa: B905
assert near > far
assert math.isclose(math.hypot(*query), 1, abs_tol=1e-5)
