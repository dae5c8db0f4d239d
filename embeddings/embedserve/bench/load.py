"""A turn of load: so many connections in a closed loop, whole waves of texts, a monotonic clock around it.

The turn goes on until at least `waves` waves were sent and `seconds` have passed, ends on a wave's border and waits
for what is in flight: the time counts to the last answer. Answers are kept and judged by `judge` afterwards.

`probe` sends single short texts one after another, alone (idle latency) or while a turn runs.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedserve.bench.client import Endpoint, Reply, decode
from embedserve.bench.shapes import Shape


@dataclass(frozen=True)
class Request:
    body: bytes
    characters: tuple[int, ...]  # of each text


@dataclass
class Turn:
    """What one turn did. Seconds; latencies of whole requests."""

    seconds: float
    replies: list[tuple[Request, Reply]]
    client_cpu: float = 0.0
    server_cpu: float | None = None
    texts: int = 0
    tokens: int = 0
    operations: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    vectors: list[npt.NDArray[np.float32]] = field(default_factory=list)  # of the first wave, in order


def drive(
    endpoint: Endpoint,
    waves: Iterator[Sequence[Request]],
    parallel: int,
    least_waves: int,
    seconds: float,
    progress: Callable[[int], None] = lambda texts: None,
) -> Turn:
    """Send whole waves over `parallel` connections. `progress` gets the number of texts just answered."""
    lock = threading.Lock()
    replies: list[tuple[int, Request, Reply]] = []
    numbered = enumerate(_until(waves, least_waves, seconds))

    def client() -> None:
        connection = endpoint.connect()
        try:
            while True:
                with lock:
                    number, request = next(numbered, (-1, None))
                if request is None:
                    return
                reply = connection.embed(request.body)
                replies.append((number, request, reply))
                progress(len(request.characters))
        finally:
            connection.close()

    threads = [threading.Thread(target=client, daemon=True) for _ in range(parallel)]
    cpu, start = time.process_time(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    replies.sort(key=lambda entry: entry[0])
    return Turn(elapsed, [(q, a) for _, q, a in replies], time.process_time() - cpu)


def _until(waves: Iterator[Sequence[Request]], least: int, seconds: float) -> Iterator[Request]:
    start, sent = time.perf_counter(), 0
    while sent < least or time.perf_counter() - start < seconds:
        yield from next(waves)
        sent += 1


def judge(turn: Turn, shape: Shape | None, keep_vectors: int = 0) -> None:
    """Fill the turn's figures from its answers; drops the answers. The first `keep_vectors` requests' vectors
    are kept for comparison with another server's."""
    for number, (request, reply) in enumerate(turn.replies):
        if reply.status != 200:
            turn.errors[reply.error()] += 1
            continue
        try:
            vectors, tokens = decode(reply, len(request.characters))
        except (ValueError, KeyError, TypeError) as error:
            turn.errors[f"wrong answer: {error}"] += 1
            continue
        if number < keep_vectors:
            turn.vectors.append(vectors)
        turn.texts += len(request.characters)
        turn.tokens += tokens
        turn.operations += shape.operations(tokens, request.characters) if shape else 0.0
        turn.latencies.append(reply.seconds)
    turn.replies = []


class Prober:
    """Single texts, one after another, `pause` seconds between them. `run` until `stop` or out of texts."""

    def __init__(self, endpoint: Endpoint, bodies: Sequence[bytes], pause: float = 0.0) -> None:
        self.endpoint, self.bodies, self.pause = endpoint, bodies, pause
        self.latencies: list[float] = []
        self.errors: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.run, daemon=True)

    def run(self, seconds: float = float("inf")) -> None:
        connection, end = self.endpoint.connect(), time.perf_counter() + seconds
        for body in self.bodies:
            reply = connection.embed(body)
            if reply.status == 200:
                self.latencies.append(reply.seconds)
            else:
                self.errors[reply.error()] += 1
            if self._stop.wait(self.pause) or time.perf_counter() > end:
                break
        connection.close()

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
