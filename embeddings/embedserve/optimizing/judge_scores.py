"""Is a quantised cross-encoder as good as the original? It orders the same candidates, with scores that go together.

Each docstring (corpus.py) is scored with its own function and with nine others. MRR is the mean of 1 / rank of its own
one; ties count against the model. The scores of both models are correlated over all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedserve.backends.base import TokenIds, Vectors
from embedserve.models.tokenizer import Tokenizer
from embedserve.optimizing.corpus import Pair
from embedserve.optimizing.judge import MOST_MRR_LOSS

CANDIDATES = 10
LEAST_CORRELATION = 0.99


@dataclass(frozen=True)
class ScoreVerdict:
    """`correlation`: Pearson's, of all scores of the two models."""

    mrr_fp32: float
    mrr: float
    correlation: float
    queries: int

    @property
    def faults(self) -> list[str]:
        """Which bounds are broken; empty: as good as the original."""
        found = []
        loss = self.mrr_fp32 - self.mrr
        if not loss <= MOST_MRR_LOSS:  # NaN is a fault too
            found.append(f"MRR fell by {loss:.4f} (at most {MOST_MRR_LOSS})")
        if not self.correlation >= LEAST_CORRELATION:
            found.append(
                f"its scores' correlation with fp32's is {self.correlation:.4f} (at least {LEAST_CORRELATION})"
            )
        return found

    @property
    def notes(self) -> dict[str, float]:
        """What the artefact's manifest keeps."""
        return {
            "queries": self.queries,
            "mrr_fp32": round(self.mrr_fp32, 4),
            "mrr": round(self.mrr, 4),
            "score_correlation": round(self.correlation, 5),
        }

    @property
    def title(self) -> str:
        return f"{self.queries} docstrings of the Python standard library, held out, each with {CANDIDATES} functions"

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        return [
            ("MRR", f"{self.mrr_fp32:.4f}", f"{self.mrr:.4f}", f">= {self.mrr_fp32 - MOST_MRR_LOSS:.4f}"),
            ("scores' correlation with fp32", "1", f"{self.correlation:.5f}", f">= {LEAST_CORRELATION}"),
        ]


def calibration_ids(tokenizer: Tokenizer, texts: Sequence[str], limit: int) -> list[TokenIds]:
    """Two neighbours are a pair, from the end, where docstrings and their functions stand (corpus.py)."""
    texts = texts if len(texts) > 1 else [*texts, *texts]
    neighbours = zip(texts[-2::-2], texts[::-2], strict=False)
    return [tokenizer.pair(first, [second], limit)[0].ids for first, second in neighbours]


def judging_ids(tokenizer: Tokenizer, pairs: Sequence[Pair], limit: int) -> list[TokenIds]:
    """CANDIDATES rows for each of the first len(pairs) / CANDIDATES queries, its own function first."""
    rows = []
    for i in range(len(pairs) // CANDIDATES):
        documents = [pairs[(i + k) % len(pairs)].document for k in range(CANDIDATES)]
        rows += [encoding.ids for encoding in tokenizer.pair(pairs[i].query, documents, limit)]
    return rows


def compare(reference: Vectors, candidate: Vectors) -> ScoreVerdict:
    """Scores of the rows of `judging_ids`, shape (n, 1) each."""
    was, now = (scores.reshape(-1, CANDIDATES).astype(np.float64) for scores in (reference, candidate))
    correlation = float(np.corrcoef(was.ravel(), now.ravel())[0, 1])
    return ScoreVerdict(_mrr(was), _mrr(now), correlation, len(was))


def _mrr(scores: np.ndarray) -> float:
    ranks = 1 + (~(scores[:, 1:] < scores[:, :1])).sum(axis=1)  # a tie or NaN counts against it
    return float((1 / ranks).mean())
