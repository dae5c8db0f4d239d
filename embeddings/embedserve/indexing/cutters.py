"""Reads and cuts many files in processes of their own, since cutting is Python's work and holds its lock.

A worker is this module as a program: it takes pickled batches on stdin, gives pickled results on stdout, and ends when
stdin does, so that none outlives the process that it works for, however that one ends. Where workers cannot be had the
caller does the work itself. It knows no index.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any, TypeVar

BATCH = 16  # files
LEAST = 150  # files for which starting workers is worth the time
MOST_WORKERS = 4

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_parallel(work: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """`work` of each job, in any order. `work`: a function of a module; jobs and results must pickle."""
    count = min(MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if len(jobs) < LEAST or count < 2:
        yield from map(work, jobs)
        return
    left = _Batches(jobs)
    results: queue.Queue[list[Result] | None] = queue.Queue(maxsize=4 * count)
    processes = [process for _ in range(count) if (process := _started(work)) is not None]
    threads = [
        threading.Thread(target=_drive, args=(process, left, results), daemon=True, name="cutting")
        for process in processes
    ]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            done = results.get()
            if done is None:
                running -= 1
            else:
                yield from done
        yield from map(work, left.rest())  # of workers that died
    finally:
        for process in processes:
            process.kill()
            process.wait()


class _Batches:
    """Jobs that are handed out once; those that were given back are done by the caller."""

    def __init__(self, jobs: Iterable[Any]) -> None:
        self._jobs, self._lock = iter(jobs), threading.Lock()
        self._back: list[Any] = []

    def take(self) -> list[Any]:
        with self._lock:
            return list(islice(self._jobs, BATCH))

    def give_back(self, jobs: list[Any]) -> None:
        with self._lock:
            self._back += jobs

    def rest(self) -> list[Any]:
        return [*self._back, *self._jobs]


def _started(work: Callable[..., Any]) -> subprocess.Popen[bytes] | None:
    command = [sys.executable, "-m", __name__, work.__module__, work.__qualname__]
    path = os.pathsep.join(part for part in sys.path if part)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
    except OSError:
        return None  # no more processes: the caller does it


def _drive(process: subprocess.Popen[bytes], left: _Batches, results: queue.Queue[Any]) -> None:
    assert process.stdin
    assert process.stdout
    while jobs := left.take():
        try:
            pickle.dump(jobs, process.stdin)
            process.stdin.flush()
            results.put(pickle.load(process.stdout))
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            left.give_back(jobs)
            break
    results.put(None)


def main(stdin: IO[bytes], stdout: IO[bytes], module: str, name: str) -> None:
    """The worker."""
    import importlib

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    work = getattr(importlib.import_module(module), name)
    while True:
        try:
            jobs = pickle.load(stdin)
            pickle.dump([work(job) for job in jobs], stdout)
            stdout.flush()
        except (EOFError, BrokenPipeError):
            return


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, *sys.argv[1:])
