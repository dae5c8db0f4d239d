"""Several workspaces as one: which of them a path is in, and their answers merged.

Each workspace's own order stays. Between them the one goes first whose best hit that is left has the higher cosine:
cosines of one model can be compared, ranks of two pools cannot. Where one has no cosines they take turns. Paths become
absolute, so that the reader of an answer can open them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from embedserve.errors import IndexingFailed
from embedserve.indexing.search import Answer, Hit


def holder(folders: Sequence[str], path: str) -> str | None:
    """The innermost of `folders` that an absolute path is in; for a relative one the first that has it on disk; None:
    none does."""
    if os.path.isabs(path):
        inside = [folder for folder in folders if os.path.commonpath([folder, os.path.normpath(path)]) == folder]
        return max(inside, key=len, default=None)
    return next((folder for folder in folders if os.path.exists(os.path.join(folder, path))), None)


def asked_in(folders: Sequence[str], prefix: str) -> list[str]:
    """The folders that a question below `prefix` is for. Raises IndexingFailed: none of them."""
    if not os.path.isabs(prefix):
        return list(folders)
    found = holder(folders, prefix)
    if found is None:
        raise IndexingFailed(f"{prefix} is in none of {', '.join(folders)}; give a path inside one of them")
    return [found]


def merged(answers: Sequence[tuple[str, Answer]], limit: int) -> Answer:
    """One answer of several, each with its folder: the `limit` best hits with absolute paths, all notes, the smallest
    share of chunks that have a vector."""
    left = [[_absolute(folder, hit) for hit in answer.hits] for folder, answer in answers]
    taken = [0] * len(left)
    comparable = all(any(hit.score is not None for hit in hits) for hits in left if hits)
    hits: list[Hit] = []
    while len(hits) < limit and any(left):
        ready = [at for at in range(len(left)) if left[at]]
        at = max(ready, key=lambda at: (_evidence(left[at]) if comparable else 0.0, -taken[at], -at))
        hits.append(left[at].pop(0))
        taken[at] += 1
    notes = [note if folder in note else f"{folder}: {note}" for folder, answer in answers for note in answer.notes]
    shares = [answer.embedded for _, answer in answers if answer.embedded is not None]
    return Answer(hits, list(dict.fromkeys(notes)), min(shares, default=None))


def _absolute(folder: str, hit: Hit) -> Hit:
    return replace(hit, path=os.path.join(folder, hit.path))


def _evidence(hits: Sequence[Hit]) -> float:
    return max((hit.score for hit in hits if hit.score is not None), default=0.0)
