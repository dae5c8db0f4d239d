"""The soak's clients: what each of a hundred does, and how each answer is judged.

Every text comes from a pool whose vectors were asked for one at a time from the quiet server. Under load each vector
must be its own text's: cosine to it at least `SAME`, and no other text of the pool nearer. Every malformed request
must get the very status that it deserves. Knows nothing of how the server is measured.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection as Pipe
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedserve.bench.client import Connection, Endpoint, Reply, decode, request_body

SAME = 0.995  # cosine of a text alone and in a batch: bf16 rounds differently with the batch's shape
NEARER = 0.003  # by so much may a (nearly equal) other text of the pool be nearer than its own
FILE = 2_600  # texts of one large file, in one request
ABORTS, MALFORMED, SLOW_WRITERS, SLOW_READERS = 0.05, 0.05, 0.03, 0.03  # shares of all acts
SEARCHES_A_SECOND = 10


class Pool:
    """Texts, and each model's vector for each of them (texts, dimension), length 1."""

    def __init__(self, texts: Sequence[str], models: Sequence[str]) -> None:
        self.texts, self.models = list(texts), list(models)
        self.vectors: dict[str, npt.NDArray[np.float32]] = {}
        # One product at a time: 164 threads in OpenBLAS's own pool spin for each other and none gets anywhere.
        self._multiplying = threading.Lock()

    def ask(self, endpoint: Endpoint) -> None:
        """Each text alone. Raises ValueError when one is refused."""
        connection = endpoint.connect()
        for model in self.models:
            rows = []
            for text in self.texts:
                reply = connection.embed(request_body([text], model))
                if reply.status != 200:
                    raise ValueError(f"{model} refused a text on a quiet server: {reply.error()}")
                rows.append(decode(reply, 1)[0][0])
            self.vectors[model] = np.stack(rows)
        connection.close()

    def fill(self, endpoint: Endpoint, at_once: int = 8) -> None:
        """The longest text to all streams of each model at once, until each has surely had it: their working memory
        grows to it, and what grows afterwards is a leak. Raises ValueError when one is refused."""
        longest = max(self.texts, key=len)

        def ask(number: int, model: str) -> None:
            connection = endpoint.connect()
            # Numbered, so that no cache has them; two, as one alone takes another way.
            reply = connection.embed(request_body([f"{number}.{place} {longest}" for place in range(2)], model))
            connection.close()
            if reply.status != 200:
                raise ValueError(f"{model} refused the longest text on a quiet server: {reply.error()}")

        for model in self.models:
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(ask, range(3 * at_once), [model] * (3 * at_once)))

    def faults(self, reply: Reply, chosen: Sequence[int], model: str) -> str:
        """What is wrong with the answer to these texts; empty when each vector is its own text's."""
        try:
            got, _tokens = decode(reply, len(chosen))
        except (ValueError, KeyError, TypeError) as error:
            return f"not an answer: {error}"
        with self._multiplying:
            near = got @ self.vectors[model].T
        own = near[np.arange(len(chosen)), list(chosen)]
        if own.min() < SAME:
            return f"a vector is not its text's: cosine {own.min():.4f}"
        return "a vector is another text's" if (near.max(axis=1) - own).max() > NEARER else ""


class Crowd:
    """What all clients share: the counts."""

    def __init__(self, endpoint: Endpoint, pool: Pool) -> None:
        self.endpoint, self.pool = endpoint, pool
        self.acts: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.texts = 0
        self.searches: list[float] = []  # seconds, from when each was due
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def judge(self, act: str, reply: Reply, chosen: Sequence[int], model: str) -> None:
        fault = reply.error() or self.pool.faults(reply, chosen, model)
        with self._lock:
            self.acts[act] += 1
            if fault:
                self.wrong[f"{act}: {fault}"] += 1
            else:
                self.texts += len(chosen)

    def count(self, act: str, fault: str = "") -> None:
        with self._lock:
            self.acts[act] += 1
            if fault:
                self.wrong[f"{act}: {fault}"] += 1

    def add(self, other: Searched) -> None:
        """What a process of searches found."""
        with self._lock:
            self.acts.update(other.acts)
            self.wrong.update(other.wrong)
            self.texts += other.acts["search"] - other.wrong.total()
            self.searches.extend(other.searches)

    def search(self) -> None:
        """Ten a second, each on its own connection's thread; the clock runs from when a search was due."""
        rng, local = random.Random(1), threading.local()

        def one(due: float, number: int) -> None:
            if not hasattr(local, "connection"):
                local.connection = self.endpoint.connect()
            model = self.pool.models[0]
            reply = local.connection.embed(request_body([self.pool.texts[number]], model))
            self.searches.append(time.perf_counter() - due)
            self.judge("search", reply, [number], model)

        with ThreadPoolExecutor(64) as threads:
            due = time.perf_counter()
            while not self.stop.is_set():
                threads.submit(one, due, rng.randrange(len(self.pool.texts)))
                due += 1 / SEARCHES_A_SECOND
                time.sleep(max(0.0, due - time.perf_counter()))


class Searched(NamedTuple):
    acts: Counter[str]
    wrong: Counter[str]
    searches: list[float]


class Searches:
    """`Crowd.search` in a process of its own: the hundred clients share one interpreter and give way to the server, and
    a search that waits there is no search that the server let wait."""

    def __init__(self, endpoint: Endpoint, pool: Pool) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        model = pool.models[0]
        arguments = (endpoint, pool.texts, model, pool.vectors[model], there)
        self._process = context.Process(target=_search, args=arguments, daemon=True)
        self._process.start()
        there.close()
        self._here.recv()  # it has imported what it needs

    def start(self) -> None:
        self._here.send(None)

    def stop(self) -> Searched:
        self._here.send(None)
        found: Searched = self._here.recv()
        self._process.join()
        return found


def _search(endpoint: Endpoint, texts: list[str], model: str, vectors: npt.NDArray[np.float32], pipe: Pipe) -> None:
    pool = Pool(texts, [model])
    pool.vectors[model] = vectors
    crowd = Crowd(endpoint, pool)
    pipe.send(None)
    pipe.recv()
    searching = threading.Thread(target=crowd.search)
    searching.start()
    pipe.recv()
    crowd.stop.set()
    searching.join()
    pipe.send(Searched(crowd.acts, crowd.wrong, crowd.searches))


class Client(threading.Thread):
    """One client: acts until told to stop. Client 0 sends large files only."""

    def __init__(self, number: int, crowd: Crowd) -> None:
        super().__init__(daemon=True)
        self.number, self.crowd, self.pool, self.endpoint = number, crowd, crowd.pool, crowd.endpoint
        self.rng = random.Random(number)

    def run(self) -> None:
        connection = self.endpoint.connect()
        while not self.crowd.stop.is_set():
            drawn = self.rng.random()
            if self.number == 0:
                self._good(connection, "large file", FILE)
                self.crowd.stop.wait(20)
            elif drawn < ABORTS:
                self._abort()
            elif drawn < ABORTS + MALFORMED:
                self._malformed(connection)
            elif drawn < ABORTS + MALFORMED + SLOW_WRITERS:
                self._slow("slow writer", texts=40, pieces=20)
            elif drawn < ABORTS + MALFORMED + SLOW_WRITERS + SLOW_READERS:
                self._slow("slow reader", texts=200, pieces=1, read_pause=0.05)
            else:
                self._good(connection, "embed", self.rng.choice([1, 8, 60]))
        connection.close()

    def _choose(self, count: int) -> tuple[list[int], str, bytes]:
        model = self.rng.choice(self.pool.models)
        chosen = [self.rng.randrange(len(self.pool.texts)) for _ in range(count)]
        return chosen, model, request_body([self.pool.texts[i] for i in chosen], model)

    def _good(self, connection: Connection, act: str, texts: int) -> None:
        chosen, model, body = self._choose(texts)
        self.crowd.judge(act, connection.embed(body), chosen, model)

    def _malformed(self, connection: Connection) -> None:
        name, status, method, path, body = self.rng.choice(MALFORMED_REQUESTS)
        path = path.replace("{base}", self.endpoint.base)
        got = connection.send(method, path, body).status
        self.crowd.count(f"malformed ({name})", "" if got == status else f"{got} instead of {status}")

    def _abort(self) -> None:
        """Send a request, whole or half, wait a moment, go away."""
        body = self._choose(self.rng.randint(1, 300))[2]
        half = self.rng.random() < 0.5
        fault = ""
        with socket.create_connection((self.endpoint.host, self.endpoint.port)) as client:
            try:
                client.sendall(self._head(len(body)) + body[: len(body) // 2 if half else None])
            except OSError:
                fault = "the server closed the connection"
            time.sleep(self.rng.random())
        self.crowd.count("abort with half a body" if half else "abort", fault)

    def _slow(self, act: str, texts: int, pieces: int, read_pause: float = 0.0) -> None:
        """A body in many pieces, or an answer read in small ones into a small buffer: slow, but within the rules."""
        chosen, model, body = self._choose(texts)
        start, client = time.perf_counter(), socket.socket()
        client.settimeout(self.endpoint.timeout)
        try:
            if read_pause:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            client.connect((self.endpoint.host, self.endpoint.port))
            client.sendall(self._head(len(body)))
            step = len(body) // pieces + 1
            for at in range(0, len(body), step):
                client.sendall(body[at : at + step])
                if pieces > 1:
                    time.sleep(0.1)
            answer = bytearray()
            while piece := client.recv(16384):
                answer += piece
                time.sleep(read_pause)
            head, _, content = bytes(answer).partition(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1]) if head else 0
            reply = Reply(status, content or b"closed", time.perf_counter() - start)
        except OSError as error:
            reply = Reply(0, str(error).encode(), time.perf_counter() - start)
        finally:
            client.close()
        self.crowd.judge(act, reply, chosen, model)

    def _head(self, length: int) -> bytes:
        return (
            f"POST {self.endpoint.base}/embeddings HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()


EMBEDDINGS = "{base}/embeddings"
# name, status it deserves, method, path, body
MALFORMED_REQUESTS: list[tuple[str, int, str, str, bytes | None]] = [
    ("half a JSON", 400, "POST", EMBEDDINGS, b'{"input": ['),
    ("not UTF-8", 400, "POST", EMBEDDINGS, b'{"input": "\xff\xfe"}'),
    ("deep", 400, "POST", EMBEDDINGS, b'{"input": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    ("no texts", 400, "POST", EMBEDDINGS, b'{"input": []}'),
    ("an empty text", 400, "POST", EMBEDDINGS, b'{"input": ["a", ""]}'),
    ("an object", 400, "POST", EMBEDDINGS, b'{"input": {"a": 1}}'),
    ("mixed types", 400, "POST", EMBEDDINGS, b'{"input": ["a", 1]}'),
    ("an unknown model", 404, "POST", EMBEDDINGS, b'{"input": "a", "model": "no-such-model"}'),
    ("an id out of the vocabulary", 400, "POST", EMBEDDINGS, json.dumps({"input": [[1, 99_999_999]]}).encode()),
    ("a negative id", 400, "POST", EMBEDDINGS, b'{"input": [[-1]]}'),
    ("an unknown route", 404, "GET", "/v1/nothing", None),
    ("a wrong method", 405, "DELETE", EMBEDDINGS, None),
]
