"""Makes one ranking of several: reciprocal ranks, and BM25 within a pool of candidates.

Pure functions of lists; it knows no files, no store and no model. Ranks are fused, not scores: a cosine and a BM25
score have no common scale (Cormack, Clarke and Buettcher 2009, reciprocal rank fusion).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

K = 60  # the constant of the paper
K1, B = 1.2, 0.75  # BM25's usual constants


def reciprocal_ranks(
    rankings: Sequence[Sequence[int]], weights: Sequence[float], count: int, k: int = K
) -> list[float]:
    """The sum of weight / (k + rank) of items 0 .. count-1; an item that a ranking leaves out gets nothing of it. The
    smaller `k` is, the more the first places differ."""
    score = [0.0] * count
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, item in enumerate(ranking, 1):
            score[item] += weight / (k + rank)
    return score


def bm25_ranking(query: Sequence[str], documents: Sequence[Sequence[str]]) -> list[int]:
    """The documents that hold a word of the query, best first (Robertson's BM25, idf among these documents alone)."""
    if not documents:
        return []
    counts = [Counter(document) for document in documents]
    mean = sum(map(len, documents)) / len(documents) or 1.0
    score = [0.0] * len(documents)
    for word in dict.fromkeys(query):
        holding = [at for at, count in enumerate(counts) if word in count]
        idf = math.log(1 + (len(documents) - len(holding) + 0.5) / (len(holding) + 0.5))
        for at in holding:
            often = counts[at][word]
            score[at] += idf * often * (K1 + 1) / (often + K1 * (1 - B + B * len(documents[at]) / mean))
    return sorted((at for at in range(len(documents)) if score[at] > 0), key=lambda at: -score[at])
