"""Is a quantised model as good as the original? Retrieval and cosines on held-out code (corpus.py).

Each query is ranked against all documents. MRR is the mean of 1 / rank of the right one, recall@10 the share
of queries with the right one among the first ten. Ties count against the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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

    @property
    def notes(self) -> dict[str, float]:
        """What the artefact's manifest keeps."""
        return {
            "pairs": self.pairs,
            "mrr_fp32": round(self.reference.mrr, 4),
            "mrr": round(self.candidate.mrr, 4),
            "recall_at_10": round(self.candidate.recall_at_10, 4),
            "cosine_mean": round(self.cosine_mean, 5),
            "cosine_worst": round(self.cosine_worst, 5),
        }

    @property
    def title(self) -> str:
        return f"{self.pairs} docstring → function pairs of the Python standard library, held out"

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        was, now = self.reference, self.candidate
        return [
            ("MRR", f"{was.mrr:.4f}", f"{now.mrr:.4f}", f">= {was.mrr - MOST_MRR_LOSS:.4f}"),
            ("recall@10", f"{was.recall_at_10:.4f}", f"{now.recall_at_10:.4f}", ""),
            ("cosine to fp32, mean", "1", f"{self.cosine_mean:.5f}", f">= {LEAST_MEAN_COSINE}"),
            ("cosine to fp32, worst", "1", f"{self.cosine_worst:.5f}", ""),
        ]


def rows_of(backend: Backend, ids: Sequence[TokenIds], progress: Callable[[int], None]) -> Vectors:
    """(n, dimension) rows, in order, on all streams of the backend. `progress` gets the number of texts done since the
    last call, in the caller's thread."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    batches: list[list[int]] = []
    while order:
        batch = [order.pop()]
        while order and (len(batch) + 1) * len(ids[batch[0]]) <= _BATCH_TOKENS:
            batch.append(order.pop())
        batches.append(batch)
    result = np.empty((len(ids), backend.info.dimension), dtype=np.float32)
    crew = ThreadPoolExecutor(backend.info.streams)
    try:
        for batch, rows in zip(
            batches, crew.map(lambda batch: backend.embed([ids[i] for i in batch]), batches), strict=True
        ):
            result[batch] = rows
            progress(len(batch))
    finally:
        crew.shutdown(cancel_futures=True)
    return result


def unit(rows: Vectors) -> Vectors:
    """Each row with length 1."""
    vectors: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return vectors


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
