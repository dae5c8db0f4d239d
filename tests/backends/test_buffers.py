"""Buffers that one long text needed do not stay for ever, and giving them back neither waits for ever nor disturbs."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from embedserve.backends import openvino_backend, openvino_buffers
from embedserve.backends.openvino_buffers import LARGE, Buffers
from embedserve.backends.select import load_backend
from support.processes import clean_environment


@pytest.fixture
def clock(monkeypatch):
    """`clock.now` seconds."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(openvino_buffers.time, "monotonic", lambda: Clock.now)
    return Clock


def run(buffers: Buffers, need: int) -> None:
    with buffers.in_use(need):
        pass


def test_after_half_a_minute_without_a_large_batch_the_next_one_gives_back_once(clock):
    freed = []
    buffers = Buffers(lambda: freed.append(clock.now))
    for clock.now, need in ((0, 1), (1, LARGE + 1), (20, 1), (25, LARGE + 1), (50, 1), (56, 1), (90, 1)):
        run(buffers, need)
    assert freed == [56]


def test_while_a_large_batch_runs_nobody_waits_for_it_to_end(clock):
    """However long it takes: one of jina's full length is a minute of a slow core."""
    freed = []
    buffers = Buffers(lambda: freed.append(clock.now))
    run(buffers, LARGE + 1)
    with buffers.in_use(LARGE + 1):
        clock.now = 60
        start = time.perf_counter()
        for _ in range(3):
            run(buffers, 1)
        assert time.perf_counter() - start < 0.5
        assert not freed
    clock.now = 91
    run(buffers, 1)
    assert freed == [91]


def test_it_waits_for_what_runs_and_what_comes_waits_for_it(clock):
    freed, order = [], []
    buffers = Buffers(lambda: freed.append(1))
    run(buffers, LARGE + 1)
    clock.now = 31
    with ThreadPoolExecutor() as pool:
        with buffers.in_use(1):  # a batch that runs for long
            run(buffers, 1)  # ends: time to give back, but not while the other runs
            late = pool.submit(lambda: (run(buffers, 1), order.append("late")))
            time.sleep(0.05)
            assert not freed
            assert not order
        late.result(5)
    assert (freed, order) == ([1], ["late"])


def test_a_batch_that_never_ends_stops_nobody(clock, monkeypatch):
    monkeypatch.setattr(openvino_buffers, "_PATIENCE", 0.01)
    freed = []
    buffers = Buffers(lambda: freed.append(1))
    run(buffers, LARGE + 1)
    clock.now = 31
    with buffers.in_use(1):
        for _ in range(5):
            run(buffers, 1)
    assert not freed
    buffers.release()
    assert freed == [1]


def test_they_are_given_back_when_asked_for_though_something_runs_at_any_moment():
    freed, stop = [], threading.Event()
    buffers = Buffers(lambda: freed.append(1))

    def client(offset):
        time.sleep(offset)
        while not stop.is_set():
            with buffers.in_use(1):
                time.sleep(0.02)

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(client, offset) for offset in (0, 0.01)]  # one begins while the other runs
        time.sleep(0.05)
        buffers.release()
        stop.set()
        for one in clients:
            one.result(5)
    assert freed == [1]


def test_a_library_that_refuses_costs_nobody_an_answer(clock, caplog):
    def busy():
        raise RuntimeError("busy")

    buffers = Buffers(busy)
    run(buffers, LARGE + 1)
    clock.now = 31
    run(buffers, 1)
    assert "not given back: busy" in caplog.text


def test_nothing_runs_while_they_are_given_back_whatever_comes(monkeypatch):
    monkeypatch.setattr(openvino_buffers, "KEEP", 0.002)
    running, seen, freed, lock = 0, [], [], threading.Lock()

    def free():
        freed.append(1)
        seen.append(running)
        time.sleep(0.001)
        seen.append(running)

    buffers = Buffers(free)

    def client(seed: int) -> None:
        nonlocal running
        chance = random.Random(seed)
        for _ in range(60):
            with buffers.in_use(LARGE + 1 if chance.random() < 0.1 else 1):
                with lock:
                    running += 1
                time.sleep(chance.random() / 1000)
                with lock:
                    running -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(client, range(4)))
    assert freed
    assert set(seen) == {0}


def test_the_memory_of_a_large_batch_comes_back_while_small_ones_go_on(minilm, home, monkeypatch):
    monkeypatch.setattr(openvino_buffers, "KEEP", 0.0)
    backend = load_backend(minilm, backend="openvino", precision="fp32", home=home, threads=1)
    resident = psutil.Process().memory_info
    texts = list(np.arange(5, 6005, dtype=np.int32).reshape(12, 500))
    monkeypatch.setattr(openvino_buffers, "LARGE", backend.activation_bytes(12, 500) - 1)
    want = backend.embed(texts)
    with_buffers = resident().rss
    backend.embed([texts[0][:20]])
    assert resident().rss < with_buffers - 60e6
    assert np.array_equal(backend.embed(texts), want)
    backend.close()


def test_long_texts_that_share_a_bias_have_the_vectors_that_each_has_alone(tiny_jina, tmp_path, monkeypatch):
    backend = load_backend(tiny_jina, backend="openvino", precision="fp32", home=tmp_path, threads=2)
    texts = [np.arange(5, 5 + length, dtype=np.int32) % 100 + 5 for length in (700, 650, 700, 700)]
    want = [backend.embed([text]) for text in texts]
    monkeypatch.setattr(openvino_backend, "LARGE", 0)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            assert all(map(np.array_equal, pool.map(lambda text: backend.embed([text]), texts), want))
    backend.close()


LONG_TEXT = """
import sys
from pathlib import Path
import numpy as np
from embedserve.backends.select import load_backend
from embedserve.models.sources import resolve
from support.memory import status_mib
folder, home = sys.argv[1], Path(sys.argv[2])
backend = load_backend(resolve(folder, home=home), backend="openvino", precision="fp32", home=home, threads=1)
text = np.arange(5, 4101, dtype=np.int32) % 100 + 5
backend.embed([text[:512]])
before = status_mib("RssAnon")
backend.embed([text])
print(status_mib("RssAnon") - before)
"""


def test_a_long_text_leaves_little_behind(tiny_jina, tmp_path):
    """Its scores' bias is 64 MiB for 4,096 tokens, and the graph holds none of that. In a process of its own."""
    child = [sys.executable, "-c", LONG_TEXT, str(tiny_jina.folder), str(tmp_path)]
    tests = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        child,
        env=clean_environment(PYTHONPATH=f"{tests}:{os.environ.get('PYTHONPATH', '')}"),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert int(done.stdout.split()[-1]) < 48
