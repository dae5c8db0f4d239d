"""Static models (models/static.py): the mean of the tokens' rows of a table, in NumPy. No inference library at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedserve.backends.base import BackendInfo, TokenIds, Vectors
from embedserve.models import static
from embedserve.models.spec import ModelSource

_AT_ONCE = 4096  # tokens gathered at a time


class StaticBackend:
    """See base.Backend. One stream: gathering rows is bound by memory, not by arithmetic."""

    def __init__(self, source: ModelSource, *, why: str) -> None:
        loaded = static.load(source.folder)
        self._table, self._left_out = loaded.vectors, loaded.left_out
        dimension = self._table.shape[1]
        self.info = BackendInfo(
            "static",
            "fp32",
            "cpu",
            dimension,
            streams=1,
            threads=1,
            why=why,
            best_batch_tokens=65536,
            best_batch_texts=1024,
            packed=True,
        )

    def embed(self, sequences: Sequence[TokenIds]) -> Vectors:
        found = np.zeros((len(sequences), self.info.dimension), dtype=np.float32)
        for row, sequence in zip(found, sequences, strict=True):
            known = sequence[sequence != self._left_out]
            ids = known if len(known) else sequence  # of nothing but unknown tokens a unit vector is wanted, too
            for start in range(0, len(ids), _AT_ONCE):
                row += self._table[ids[start : start + _AT_ONCE]].sum(axis=0)
            row /= len(ids)
        return found

    def activation_bytes(self, count: int, length: int) -> int:
        return (min(length, _AT_ONCE) + count) * self.info.dimension * 4

    def release_memory(self) -> None:
        pass

    def close(self) -> None:
        del self._table
