"""potion-code-16M: Minish's model cards. Tables of token vectors distilled from CodeRankEmbed; no encoder."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec

POTION_CODE_V2 = ModelSpec(
    id="potion-code-16M-v2",
    hub_id="minishlab/potion-code-16M-v2",
    revision="e9d2a44ca6a05ac6685f3b23709ea57eb7352d5b",
    architecture="static",
    dimension=256,
    max_tokens=512,  # model2vec's own limit
    dtypes=("fp32",),
    license="MIT",
    size_bytes=33_500_000,
    good_for="code search, the fastest here by far: a table, so a word means the same in every text",
    code_retrieval="CoIR 40.7 (its successor's card)",
)

POTION_CODE = ModelSpec(
    id="potion-code-16M",
    hub_id="minishlab/potion-code-16M",
    architecture="static",
    dimension=256,
    max_tokens=512,
    dtypes=("fp32",),
    license="MIT",
    size_bytes=64_000_000,
    good_for="the first version of potion-code-16M-v2",
    code_retrieval="CoIR 37.1 (its card)",
)
