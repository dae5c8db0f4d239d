"""Collections of garbage cost little, block nobody and are never given up."""

import gc
import threading
from types import SimpleNamespace

import pytest

from embedserve.engine import garbage
from embedserve.engine.garbage import Collections


def test_collections_take_a_bounded_share_of_the_time_whatever_one_costs(monkeypatch):
    class Clock:
        now = computed = 0.0

    def busy():
        Clock.now += 0.1  # most of it without a core
        Clock.computed += 0.004
        done.append(1)

    done = []
    monkeypatch.setattr(gc, "collect", busy)
    monkeypatch.setattr(
        garbage, "time", SimpleNamespace(monotonic=lambda: Clock.now, thread_time=lambda: Clock.computed)
    )
    collections = Collections()
    assert collections.collect()
    assert collections.due_in() == pytest.approx(0.2)  # 4 ms are 2 % of it
    Clock.now += 0.19
    assert not collections.collect()
    Clock.now += 0.02
    assert collections.collect()
    assert len(done) == 2


def test_while_one_thread_collects_nobody_waits_for_it(monkeypatch):
    running, stop = threading.Event(), threading.Event()
    monkeypatch.setattr(gc, "collect", lambda: (running.set(), stop.wait(5)))
    collections = Collections()
    thread = threading.Thread(target=collections.collect)
    thread.start()
    assert running.wait(5)
    assert not collections.collect()
    stop.set()
    thread.join(5)
    assert collections.due_in() < 0.1  # waiting is no cost


def test_a_collection_that_failed_is_tried_again(monkeypatch):
    def fails():
        raise MemoryError

    collections = Collections()
    monkeypatch.setattr(gc, "collect", fails)
    with pytest.raises(MemoryError):
        collections.collect()
    monkeypatch.undo()
    assert collections.collect()
