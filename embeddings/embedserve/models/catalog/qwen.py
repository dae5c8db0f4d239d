"""Qwen3-Embedding-0.6B: its model card. Any instruction may stand in a query's prompt; this is its files' default."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec

QWEN3_EMBEDDING = ModelSpec(
    id="Qwen3-Embedding-0.6B",
    aliases=("qwen3-embedding", "qwen3-embedding:0.6b"),
    hub_id="Qwen/Qwen3-Embedding-0.6B",
    revision="97b0c614be4d77ee51c0cef4e5f07c00f9eb65b3",
    architecture="qwen3",
    dimension=1024,
    max_tokens=32768,
    matryoshka=(1024, 768, 512, 256, 128, 64, 32),
    least_dimension=32,  # its card: any from 32 to 1024
    prompts={
        "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
    },
    license="Apache-2.0",
    size_bytes=1_192_000_000,
    good_for="100 languages and code, very long texts; the largest here",
)
