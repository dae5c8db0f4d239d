"""Granite Embedding R2, English: IBM's model cards. ModernBERTs; no prompts."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec

GRANITE_R2 = ModelSpec(
    id="granite-embedding-english-r2",
    aliases=("granite-embedding-r2",),
    hub_id="ibm-granite/granite-embedding-english-r2",
    revision="47ea694b257b703fee9253d75c2b1f2985180498",
    architecture="modernbert",
    dimension=768,
    max_tokens=8192,
    license="Apache-2.0",
    size_bytes=298_000_000,
    good_for="English text, code and long documents; training data cleared for business",
    code_retrieval="CoIR 54.8 (its makers' table)",
)

GRANITE_SMALL_R2 = ModelSpec(
    id="granite-embedding-small-english-r2",
    aliases=("granite-embedding-small-r2",),
    hub_id="ibm-granite/granite-embedding-small-english-r2",
    revision="2ab6fa8ea2d674564defd37171ae19079b864b33",
    architecture="modernbert",
    dimension=384,
    max_tokens=8192,
    license="Apache-2.0",
    size_bytes=95_000_000,
    good_for="as granite-embedding-english-r2 at a third of the size",
    code_retrieval="CoIR 53.4 (its makers' table)",
)
