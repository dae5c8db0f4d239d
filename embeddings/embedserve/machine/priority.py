"""Threads that compute give way to those that serve.

On few cores a library's threads compute all the time. A thread of ours that holds the interpreter and waits for a core
behind them keeps the event loop waiting with it: up to 0.1 s were seen. On Linux each thread has its own niceness and
hands it on to the threads that it starts.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

NICER = 5  # a third of the weight of a thread that serves

_T = TypeVar("_T")


def in_a_nicer_thread(work: Callable[[], _T]) -> _T:
    """`work()`, whose threads, where it starts some, have a lower priority. Linux; elsewhere just `work()`."""
    if sys.platform != "linux":
        return work()
    with ThreadPoolExecutor(1, "nicer", initializer=_be_nicer) as one:
        return one.submit(work).result()


def _be_nicer() -> None:
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER)  # 19 is the most
