"""bge v1.5, English: BAAI's model cards. The first token's state; a query may have its instruction, documents none."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec

_PROMPTS = {"query": "Represent this sentence for searching relevant passages: "}

BGE_SMALL_EN = ModelSpec(
    id="bge-small-en-v1.5",
    aliases=("bge-small-en", "bge-small"),
    hub_id="BAAI/bge-small-en-v1.5",
    revision="5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
    architecture="bert",
    dimension=384,
    max_tokens=512,
    prompts=_PROMPTS,
    license="MIT",
    size_bytes=133_000_000,
    good_for="small; general English text",
)

BGE_BASE_EN = ModelSpec(
    id="bge-base-en-v1.5",
    aliases=("bge-base-en", "bge-base"),
    hub_id="BAAI/bge-base-en-v1.5",
    revision="a5beb1e3e68b9ab74eb54cfd186867f64f240e1a",
    architecture="bert",
    dimension=768,
    max_tokens=512,
    prompts=_PROMPTS,
    license="MIT",
    size_bytes=438_000_000,
    good_for="general English text",
    code_retrieval="CoIR 46.6 (Granite's table)",
)
