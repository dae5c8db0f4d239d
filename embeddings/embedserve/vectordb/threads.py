"""Blocking work off the event loop, whose end is always waited for; reads, writes and chores apart.

Each kind has threads of its own, so that a search never waits for a writer's or an index build's disk. A panic inside
Qdrant Edge (a BaseException in Python) becomes the error of the one request that met it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from embedserve.vectordb.errors import of_engine

P = ParamSpec("P")
T = TypeVar("T")


class ShardPanic(RuntimeError):
    """Qdrant Edge met a bug of its own; the shard goes on."""


class Kind(enum.Enum):
    READ = "read"
    WRITE = "write"
    CHORE = "chore"  # flushes, copies, removals


_THREADS = {Kind.READ: 8, Kind.WRITE: 4, Kind.CHORE: 2}
_pools = {kind: ThreadPoolExecutor(count, f"qdrant-{kind.value}") for kind, count in _THREADS.items()}


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`work` in a thread for chores; see `run`."""
    return await run(Kind.CHORE, partial(work, *args, **kwargs))


async def run(kind: Kind, work: Callable[[], T]) -> T:
    """`work` in a thread of its kind. A thread cannot be cancelled, so a cancelled caller waits until it is done.

    Else the caller's locks would be free, and the folder that it cleans up refilled, while the work goes on.
    """
    running = asyncio.get_running_loop().run_in_executor(_pools[kind], _guarded, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _guarded(work: Callable[[], T]) -> T:
    with panics_as_errors():
        try:
            return work()
        except Exception as error:
            if type(error) is Exception:  # Qdrant Edge's only kind
                raise of_engine(error) from None
            raise


@contextlib.contextmanager
def panics_as_errors() -> Iterator[None]:
    """ShardPanic for a panic inside Qdrant Edge, whose exception no module exports and `except Exception` misses."""
    try:
        yield
    except BaseException as panic:
        if type(panic).__name__ != "PanicException":
            raise
        raise ShardPanic(f"Qdrant Edge panicked: {str(panic).splitlines()[0][:300]}") from None
