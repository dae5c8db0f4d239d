"""Qdrant Edge with a look at each call of a shard: for faults of the engine and for writes that end half way."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import qdrant_edge as edge


class _Shard:
    def __init__(self, shard: Any, before: Callable[[str], None]) -> None:
        self._shard, self._before = shard, before

    def __getattr__(self, name: str) -> Any:
        self._before(name)
        return getattr(self._shard, name)


def watched_edge(before: Callable[[str], None]) -> Any:
    """What stands where collection.py has `edge`. `before(name)` is called before each method of a shard that is made
    by it, and may raise."""

    def create(*args: Any) -> _Shard:
        return _Shard(edge.EdgeShard.create(*args), before)

    def load(*args: Any) -> _Shard:
        return _Shard(edge.EdgeShard.load(*args), before)

    return SimpleNamespace(**vars(edge) | {"EdgeShard": SimpleNamespace(create=create, load=load)})
