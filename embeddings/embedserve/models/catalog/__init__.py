"""The models known by name: one file a maker, facts only; rerankers too. Where the files are is for sources.py.

To add a model: a file with its `ModelSpec`, a line in CATALOG. Its facts come from its makers' card and files, and
the file says from where. What could not be verified is left out: no revision (then the last commit that was pulled is
kept), no licence, no figure. A revision here was found under this model's name in several independent public places.
"""

from __future__ import annotations

from embedserve.models.catalog.bge import BGE_BASE_EN, BGE_SMALL_EN
from embedserve.models.catalog.coderank import CODERANKEMBED
from embedserve.models.catalog.embeddinggemma import EMBEDDINGGEMMA
from embedserve.models.catalog.granite import GRANITE_R2, GRANITE_SMALL_R2
from embedserve.models.catalog.gte import GTE_MODERNBERT
from embedserve.models.catalog.jina import JINA_CODE_V2
from embedserve.models.catalog.minilm import MINILM
from embedserve.models.catalog.nomic import NOMIC_EMBED_TEXT
from embedserve.models.catalog.potion import POTION_CODE, POTION_CODE_V2
from embedserve.models.catalog.qwen import QWEN3_EMBEDDING
from embedserve.models.catalog.rerankers import RERANKERS
from embedserve.models.names import answers_to
from embedserve.models.spec import ModelSpec

__all__ = ("CATALOG", "EMBEDDINGGEMMA", "JINA_CODE_V2", "MINILM", "NOMIC_EMBED_TEXT", "QWEN3_EMBEDDING", "find")

CATALOG: tuple[ModelSpec, ...] = (
    JINA_CODE_V2,  # the default
    MINILM,
    EMBEDDINGGEMMA,
    CODERANKEMBED,
    GRANITE_R2,
    GRANITE_SMALL_R2,
    GTE_MODERNBERT,
    QWEN3_EMBEDDING,
    NOMIC_EMBED_TEXT,
    BGE_SMALL_EN,
    BGE_BASE_EN,
    POTION_CODE_V2,
    POTION_CODE,
    *RERANKERS,
)


def find(name: str) -> ModelSpec | None:
    """The spec that answers to this id, alias or hub id, or None."""
    return next((spec for spec in CATALOG if answers_to(spec, name)), None)
