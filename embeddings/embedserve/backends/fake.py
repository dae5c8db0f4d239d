"""A deterministic backend for fault injection: no model, vectors from a hash of the ids.

Knobs are attributes, set by a test while it runs: `delay` (seconds a batch), `fail` (a callable that gets
the batch and may raise).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from embedserve.backends.base import BackendInfo, TokenIds, Vectors


class FakeBackend:
    def __init__(self, dimension: int = 8, streams: int = 1) -> None:
        self.info = BackendInfo("fake", "fp32", "cpu", dimension, streams, threads=1, why="asked for")
        self.delay = 0.0
        self.fail: Callable[[Sequence[TokenIds]], None] | None = None
        self.batches: list[list[int]] = []  # the lengths in each batch that ran
        self.closed = False
        self._lock = threading.Lock()

    def embed(self, sequences: Sequence[TokenIds]) -> Vectors:
        with self._lock:
            self.batches.append([len(s) for s in sequences])
        if self.delay:
            time.sleep(self.delay)
        if self.fail is not None:
            self.fail(sequences)
        return np.stack([self.vector(s) for s in sequences])

    def vector(self, ids: TokenIds) -> Vectors:
        """The raw vector of one text: depends on the ids alone."""
        seed = np.frombuffer(np.asarray(ids, dtype=np.int32).tobytes(), dtype=np.uint32)
        return np.random.default_rng(seed).standard_normal(self.info.dimension, dtype=np.float32)

    def activation_bytes(self, count: int, length: int) -> int:
        return count * length * 1024

    def release_memory(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class FakeTokenizer:
    """One id for each UTF-8 byte, between a start and an end id: lengths are easy to tell in a test."""

    vocab_size = 258
    special = (np.array([0], dtype=np.int32), np.array([1], dtype=np.int32))

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[FakeEncoding]:
        return [self._encode(text, max_tokens) for text in texts]

    def pair(self, first: str, others: Sequence[str], max_tokens: int) -> list[FakeEncoding]:
        return [self._encode(f"{first}\0{other}", max_tokens) for other in others]

    def mark_prompt(self, ids: TokenIds, prompt: str) -> TokenIds:
        """As Tokenizer.mark_prompt: the start id and the prompt's are marked."""
        count = min(1 + len(prompt.encode()), len(ids))
        return np.concatenate([ids[:count] | np.int32(1 << 29), ids[count:]])

    def tokens(self, text: str, special: bool) -> list[FakeToken]:
        middle = [FakeToken(byte + 2, chr(byte), False, i, i + 1) for i, byte in enumerate(text.encode())]
        return [FakeToken(0, "<s>", True), *middle, FakeToken(1, "</s>", True)] if special else middle

    def decode(self, ids: Sequence[int], skip_special: bool) -> str:
        names = {0: "" if skip_special else "<s>", 1: "" if skip_special else "</s>"}
        return "".join(names[one] if one in names else chr(one - 2) for one in ids)

    def _encode(self, text: str, max_tokens: int) -> FakeEncoding:
        ids = np.array([0, *(byte + 2 for byte in text.encode()), 1], dtype=np.int32)
        cut = ids if len(ids) <= max_tokens else np.append(ids[: max_tokens - 1], ids[-1:])
        return FakeEncoding(cut, len(ids))


@dataclass(frozen=True)
class FakeEncoding:
    ids: TokenIds
    length: int


@dataclass(frozen=True)
class FakeToken:
    id: int
    text: str
    special: bool
    start: int | None = None
    stop: int | None = None
