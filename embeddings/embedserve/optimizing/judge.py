"""Is a quantised model as good as the original? Retrieval and cosines on held-out code (corpus.py).

Each query is ranked against all documents. MRR is the mean of 1 / rank of the right one, recall@10 the share
of queries with the right one among the first ten. Ties count against the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedserve.backends.base import Backend, TokenIds, Vectors

MOST_MRR_LOSS = 0.005
LEAST_MEAN_COSINE = 0.99
_BATCH_TOKENS = 1024


@dataclass(frozen=True)
class Quality:
    mrr: float
    recall_at_10: float


@dataclass(frozen=True)
class Verdict:
    reference: Quality
    candidate: Quality
    cosine_mean: float
    cosine_worst: float
    pairs: int

    @property
    def faults(self) -> list[str]:
        """Which bounds are broken; empty: as good as the original."""
        found = []
        loss = self.reference.mrr - self.candidate.mrr
        if not loss <= MOST_MRR_LOSS:  # NaN is a fault too
            found.append(f"MRR fell by {loss:.4f} (at most {MOST_MRR_LOSS})")
        if not self.cosine_mean >= LEAST_MEAN_COSINE:
            found.append(f"the mean cosine to fp32 is {self.cosine_mean:.4f} (at least {LEAST_MEAN_COSINE})")
        return found


def unit_vectors(backend: Backend, ids: Sequence[TokenIds], progress: Callable[[int], None]) -> Vectors:
    """(n, dimension) unit vectors, in order. `progress` gets the number of texts done since the last call."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    result = np.empty((len(ids), backend.info.dimension), dtype=np.float32)
    while order:
        batch = [order.pop()]
        while order and (len(batch) + 1) * len(ids[batch[0]]) <= _BATCH_TOKENS:
            batch.append(order.pop())
        raw = backend.embed([ids[i] for i in batch])
        result[batch] = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        progress(len(batch))
    return result


def quality(queries: Vectors, documents: Vectors) -> Quality:
    """Row i of queries should find row i of documents."""
    ranks = ranks_of(queries, documents)
    return Quality(float((1 / ranks).mean()), float((ranks <= 10).mean()))


def ranks_of(queries: Vectors, documents: Vectors) -> npt.NDArray[np.int64]:
    """The rank, from 1, of document i for query i."""
    scores = queries @ documents.T
    right = np.diagonal(scores)[:, None]
    return np.asarray((scores >= right).sum(axis=1), dtype=np.int64)


def compare(reference: tuple[Vectors, Vectors], candidate: tuple[Vectors, Vectors]) -> Verdict:
    """(queries, documents) of the original and of the quantised model."""
    cosines = (np.concatenate(reference) * np.concatenate(candidate)).sum(axis=1)
    return Verdict(
        quality(*reference), quality(*candidate), float(cosines.mean()), float(cosines.min()), len(reference[0])
    )
