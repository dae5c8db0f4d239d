"""What a small request is: a search, as against a scan. The one place that says so, in the unit known at each step.

Small requests have slots and a tokenising thread of their own and are computed first, so that a search is answered in
time beside a scan. Before the body is read only its declared size is known, before tokenising its characters,
afterwards its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from embedserve.backends.base import TokenIds

BODY_BYTES = 4 * 1024  # a search; 60 short chunks are more
_CHARACTERS = 4 * 1024
_TOKENS = 1024
_INLINE_CHARACTERS = 1024  # about 0.3 ms of tokenising; a hop to a thread and back costs a third of that
_INLINE_HASHED = 256 * 1024  # characters: about 0.5 ms


def is_small_body(declared: int | None) -> bool:
    """declared: the Content-Length; without one a body may be anything."""
    return declared is not None and declared <= BODY_BYTES


def are_small_texts(texts: Sequence[str]) -> bool:
    return sum(map(len, texts)) <= _CHARACTERS


def are_small_ids(ids: Sequence[TokenIds]) -> bool:
    return sum(map(len, ids)) <= _TOKENS


def are_inline_texts(texts: Sequence[str]) -> bool:
    """Whether they are tokenised on the event loop: so little that a hop to a thread costs more than the work."""
    return sum(map(len, texts)) <= _INLINE_CHARACTERS


def are_inline_hashed(texts: Sequence[str]) -> bool:
    """Whether their digests are made on the event loop."""
    return len(texts) <= 256 and sum(map(len, texts)) <= _INLINE_HASHED
