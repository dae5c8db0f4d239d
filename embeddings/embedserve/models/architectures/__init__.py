"""The architectures that are understood: one file each, listed here. `of(config)` says which one a config.json is.

A file states four things: which configs are this architecture (`matches`), its sizes (`read`), which tensor of a
checkpoint each canonical parameter is (`layouts`), and, where it has a classification head, how that reads (`heads`).
To add an architecture: a file, a line in ALL, a row in the parity test.
"""

from __future__ import annotations

from typing import Any

from embedserve.models.architectures import (
    bert,
    distilbert,
    gemma3,
    gte,
    jina_bert,
    modernbert,
    mpnet,
    nomic_bert,
    qwen3,
    roberta,
)
from embedserve.models.architectures.base import Architecture

ALL: tuple[Architecture, ...] = (
    jina_bert.JINA_BERT,
    bert.BERT,
    roberta.ROBERTA,
    distilbert.DISTILBERT,
    mpnet.MPNET,
    modernbert.MODERNBERT,
    nomic_bert.NOMIC_BERT,
    gte.GTE,
    gemma3.GEMMA3,
    qwen3.QWEN3,
)


def of(config: dict[str, Any]) -> Architecture | None:
    """The architecture of a config.json, or None."""
    return next((found for found in ALL if found.matches(config)), None)


def named(name: str) -> Architecture:
    return next(found for found in ALL if found.name == name)
