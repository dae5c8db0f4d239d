"""jina-embeddings-v2-base-code: its model card and config.json. Its code is in another repository; ours is native."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec, Published

JINA_CODE_V2 = ModelSpec(
    id="jina-code-v2",
    aliases=("jina-embeddings-v2-base-code", "jina/jina-embeddings-v2-base-code"),
    hub_id="jinaai/jina-embeddings-v2-base-code",
    revision="516f4baf13dec4ddddda8631e019b5737c8bc250",
    architecture="jina_bert",
    dimension=768,
    max_tokens=8192,
    license="Apache-2.0",
    size_bytes=324_000_000,
    good_for="code search in English and 30 programming languages; long texts",
    code_retrieval="CodeSearchNet MRR 67.2, CoIR 58.4 (CodeRankEmbed's card)",
    published=(Published("hello world", (0.0145, -0.0164, 0.0136, -0.0170, 0.0734)),),
)
