"""Texts that were embedded before, told by their characters: a request that the cache has whole is not tokenised.

Tokenising is what a cached request costs. So for each text that was tokenised its key in the cache, its tokens and
whether it was cut are kept, in memory only, under a 128-bit BLAKE2b of prompt and text. The vectors are the cache's.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from embedserve.backends.base import Vectors
from embedserve.engine.cache import MemoryCache

_ENTRY = 240  # bytes of one: digest, key, tuple, dict slot
_SHARE = 8  # of the cache's memory, that much on top of it


@dataclass(frozen=True)
class Recalled:
    """rows: each text's vector, in input order. tokens: in all. cut: texts over the model's limit."""

    rows: list[Vectors]
    tokens: int
    cut: int


class Recall:
    """Thread-safe. `memory`: where the vectors are."""

    def __init__(self, memory: MemoryCache) -> None:
        self.memory = memory
        self.most = memory.max_bytes // _SHARE // _ENTRY
        self._known: OrderedDict[bytes, tuple[bytes, int]] = OrderedDict()  # the sign of the tokens: negative, cut
        self._lock = threading.Lock()

    def digests(self, texts: Sequence[str], prefix: str) -> list[bytes]:
        """What `find` and `note` know the texts by."""
        salt = hashlib.blake2b(prefix.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return [
            hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=salt).digest() for text in texts
        ]

    def find(self, digests: Sequence[bytes], *, cut: bool) -> Recalled | None:
        """All of the texts, or None. cut: whether over-long texts will do."""
        with self._lock:
            known = [self._known.get(digest) for digest in digests]
        if None in known:
            return None
        keys = [key for key, _ in known]  # type: ignore[misc]
        tokens = [count for _, count in known]  # type: ignore[misc]
        if not cut and min(tokens) < 0:
            return None
        rows = [row for row in self.memory.get_many(keys) if row is not None]
        if len(rows) < len(keys):
            return None
        return Recalled(rows, sum(map(abs, tokens)), sum(count < 0 for count in tokens))

    def note(self, digests: Sequence[bytes], keys: Sequence[bytes], tokens: Sequence[int], cut: Sequence[bool]) -> None:
        """These texts were tokenised: text i has the key keys[i] and tokens[i] tokens."""
        with self._lock:
            for digest, key, count, over in zip(digests, keys, tokens, cut, strict=True):
                self._known[digest] = key, -count if over else count
                self._known.move_to_end(digest)
            while len(self._known) > self.most:
                self._known.popitem(last=False)
