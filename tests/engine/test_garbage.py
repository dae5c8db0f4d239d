"""Collections of garbage cost little, block nobody and are never given up."""

import gc
import threading
from types import SimpleNamespace

import pytest

from embedserve.engine import garbage
from embedserve.engine.garbage import WHOLE, YOUNG, Collections, only_when_asked


def test_collections_take_a_bounded_share_of_the_time_whatever_one_costs(monkeypatch):
    class Clock:
        now = computed = 0.0

    def busy(_generation):
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


def test_whole_collections_take_a_smaller_share_and_no_thread_that_computes_makes_one(monkeypatch):
    class Clock:
        now = computed = 0.0

    def busy(generation):
        Clock.computed += 0.005 if generation == WHOLE else 0.0002
        done.append(generation)

    done = []
    monkeypatch.setattr(gc, "collect", busy)
    monkeypatch.setattr(
        garbage, "time", SimpleNamespace(monotonic=lambda: Clock.now, thread_time=lambda: Clock.computed)
    )
    collections = Collections()
    assert collections.collect(young=True)
    Clock.now += 1
    assert collections.collect()
    assert done == [YOUNG, WHOLE]
    for _ in range(40):  # 20 seconds of a request each half second
        Clock.now += 0.5
        assert collections.collect()
    assert done.count(WHOLE) == 1 + 4  # 5 ms are 0.1 % of 5 s
    Clock.now += 60
    assert collections.collect(young=True)
    assert done[-1] == YOUNG


def test_while_serving_python_starts_no_whole_collection_by_itself():
    def whole():
        return gc.get_stats()[WHOLE]["collections"]

    def work():
        before, kept = whole(), []
        for _ in range(300_000):
            kept.append([])
        return whole() - before

    gc.collect()
    gc.freeze()  # as the service does: few objects are left, so few new ones make a whole collection due
    try:
        assert work() > 0
        with only_when_asked():
            assert work() == 0
    finally:
        gc.unfreeze()
    assert gc.get_threshold()[2] < 1000


def test_while_one_thread_collects_nobody_waits_for_it(monkeypatch):
    running, stop = threading.Event(), threading.Event()
    monkeypatch.setattr(gc, "collect", lambda _generation: (running.set(), stop.wait(5)))
    collections = Collections()
    thread = threading.Thread(target=collections.collect)
    thread.start()
    assert running.wait(5)
    assert not collections.collect()
    stop.set()
    thread.join(5)
    assert collections.due_in() < 0.1  # waiting is no cost


def test_a_collection_that_failed_is_tried_again(monkeypatch):
    def fails(_generation):
        raise MemoryError

    collections = Collections()
    monkeypatch.setattr(gc, "collect", fails)
    with pytest.raises(MemoryError):
        collections.collect()
    monkeypatch.undo()
    assert collections.collect()
