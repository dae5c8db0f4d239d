"""jina-embeddings-v2-base-code: its model card and config.json. Its code is in another repository; ours is native."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec, Published, Ranking

# From an implementation with the approximate (tanh) GELU, where ours is exact: allowed to differ by more.
_DEEP = (-0.011611, -0.001683, -0.006449, -0.009899, 0.027509, 0.022785, -0.059177, -0.047894)
_LEARNING = (-0.006007, -0.034995, -0.003477, 0.035283, 0.010534, 0.037531, -0.054983, -0.035325)

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
    published=(
        Published("hello world", (0.0145, -0.0164, 0.0136, -0.0170, 0.0734)),
        Published("What is Deep Learning?", _DEEP, allowed=5e-3),
        Published("Deep Learning is...", _LEARNING, allowed=5e-3),
    ),
    rankings=(Ranking("What is Deep Learning?", ("Deep Learning is...",), (0.87624,), allowed=5e-3),),
)
