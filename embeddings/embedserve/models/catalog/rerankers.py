"""Rerankers: cross-encoders, whose "dimension" is the one score of a pair. Their makers' cards."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec

MS_MARCO_MINILM = ModelSpec(
    id="ms-marco-MiniLM-L6-v2",
    aliases=("ms-marco-MiniLM-L-6-v2", "cross-encoder/ms-marco-MiniLM-L-6-v2"),
    hub_id="cross-encoder/ms-marco-MiniLM-L6-v2",
    architecture="bert",
    dimension=1,
    max_tokens=512,
    task="score",
    license="Apache-2.0",
    good_for="reranking English passages; small and fast",
)

BGE_RERANKER_BASE = ModelSpec(
    id="bge-reranker-base",
    hub_id="BAAI/bge-reranker-base",
    architecture="roberta",
    dimension=1,
    max_tokens=512,
    task="score",
    license="MIT",
    good_for="reranking English and Chinese passages",
)

GTE_RERANKER_MODERNBERT = ModelSpec(
    id="gte-reranker-modernbert-base",
    hub_id="Alibaba-NLP/gte-reranker-modernbert-base",
    architecture="modernbert",
    dimension=1,
    max_tokens=8192,
    task="score",
    license="Apache-2.0",
    good_for="reranking English text and code, long documents",
    code_retrieval="CoIR 80.0 (its card, 20 tasks, over gte-modernbert-base)",
)

RERANKERS: tuple[ModelSpec, ...] = (MS_MARCO_MINILM, BGE_RERANKER_BASE, GTE_RERANKER_MODERNBERT)
