"""Model files for tests: tiny random jina checkpoints, and the real MiniLM of the installed package."""

from __future__ import annotations

from pathlib import Path

from random_jina import write_checkpoint

from embedserve.models.sources import resolve
from embedserve.models.spec import ModelSource

TINY = {"layers": 2, "hidden": 32, "heads": 4, "intermediate": 64, "vocab": 400, "files": 2}


def tiny_jina(folder: Path, **sizes: int) -> Path:
    """A random checkpoint of the jina architecture: 2 layers, width 32, 400 tokens. Made in 0.1 s."""
    return write_checkpoint(folder, **{**TINY, **sizes})


def minilm(home: Path) -> ModelSource:
    """The real all-MiniLM-L6-v2, from the package (no network)."""
    return resolve("all-MiniLM-L6-v2", home=home, offline=True)
