"""Collections of garbage cost little, block nobody and are never given up."""

import gc
import threading
import time

import pytest

from embedserve.engine.garbage import Collections


def test_collections_take_a_bounded_share_of_the_time_whatever_one_costs(monkeypatch):
    def busy():
        end = time.thread_time() + 0.004
        while time.thread_time() < end:
            pass
        done.append(1)

    done = []
    monkeypatch.setattr(gc, "collect", busy)
    collections = Collections()
    assert collections.collect()
    assert 0.15 < collections.due_in() <= 0.21  # 4 ms are 2 % of 0.2 s
    assert not collections.collect()
    time.sleep(collections.due_in())
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
