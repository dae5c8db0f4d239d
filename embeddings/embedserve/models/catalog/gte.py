"""gte-modernbert-base: Alibaba's model card. The first token's state; no prompts."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec

GTE_MODERNBERT = ModelSpec(
    id="gte-modernbert-base",
    hub_id="Alibaba-NLP/gte-modernbert-base",
    revision="e7f32e3c00f91d699e8c43b53106206bcc72bb22",
    architecture="modernbert",
    dimension=768,
    max_tokens=8192,
    license="Apache-2.0",
    size_bytes=298_000_000,
    good_for="English text and code, long documents",
    code_retrieval="CoIR 79.3 (its card, 20 tasks), 71.5 (Granite's table, 10 tasks)",
)
