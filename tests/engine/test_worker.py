"""The bounds of a micro-batch: measured speed, the backend's advice, and memory, each from both sides."""

import asyncio
import time
from dataclasses import replace

import pytest

from embedserve.backends.fake import FakeBackend, FakeTokenizer
from embedserve.engine import worker
from embedserve.engine.backlog import Backlog
from embedserve.engine.engine import Engine
from embedserve.engine.health import Health
from embedserve.engine.memory import MemoryGovernor
from embedserve.engine.planner import UNLIMITED
from embedserve.engine.worker import SEARCHING_SECONDS, TARGET_SECONDS, Worker

BEST, LEAST = 4096, 256  # tokens


def governor(limit=1 << 40, max_texts=64, explicit=False):
    return MemoryGovernor(limit=limit, percent=100, min_texts=1, max_texts=max_texts, rss=lambda: 0, explicit=explicit)


def backend(**info):
    fake = FakeBackend()
    fake.info = replace(fake.info, **{"best_batch_tokens": BEST, "best_batch_texts": 32, **info})
    return fake


def idle_worker(**kwargs):
    return Worker(backend(), Backlog(), governor(**kwargs), "worker", lambda items, vectors: None, Health())


@pytest.mark.parametrize(
    ("tokens_per_second", "tokens"),
    [
        (0, BEST),  # not measured yet: the backend's advice
        (1, LEAST),  # however slow, a batch is worth its overhead
        (LEAST / TARGET_SECONDS - 100, LEAST),
        (2000 / TARGET_SECONDS, 2000),  # a batch takes the target's time
        (BEST / TARGET_SECONDS + 100, BEST),
        (1e9, BEST),  # however fast, no longer than what ran fastest
    ],
)
def test_a_batch_lasts_the_target_between_the_least_and_the_best_size(tokens_per_second, tokens):
    one = idle_worker()
    one.tokens_per_second = tokens_per_second
    assert one.budget().tokens == pytest.approx(tokens, abs=1)


def test_a_batch_is_shorter_for_a_while_after_a_search():
    one = idle_worker()
    one.tokens_per_second = 2000 / SEARCHING_SECONDS
    one.backlog.last_small = time.monotonic()
    assert one.budget().tokens == pytest.approx(2000, abs=1)
    one.backlog.last_small -= worker.SEARCHING_FOR
    assert one.budget().tokens == pytest.approx(min(2000 / SEARCHING_SECONDS * TARGET_SECONDS, BEST), abs=1)


def test_a_slow_models_batch_may_be_half_as_long_while_somebody_searches():
    one = idle_worker()
    one.tokens_per_second = 1
    one.backlog.last_small = time.monotonic()
    assert one.budget().tokens == LEAST / 2


@pytest.mark.parametrize(("cap", "texts"), [(5, 5), (64, 32)])
def test_texts_are_bounded_by_the_governor_and_by_the_backend(cap, texts):
    assert idle_worker(max_texts=cap).budget().texts == texts


@pytest.mark.parametrize("asked", [5, 48, 64, 200])
def test_a_number_of_texts_that_was_asked_for_is_taken_in_place_of_the_backends_advice(asked):
    one = idle_worker(max_texts=asked, explicit=True)
    assert one.budget().texts == asked
    one.governor.shrink()  # memory is short
    assert one.budget().texts == max(asked // 2, 1)


def several(streams, **kwargs):
    """One of so many workers that have measured 1,000 tokens a second."""
    one = Worker(
        backend(streams=streams), Backlog(), governor(**kwargs), "worker", lambda items, vectors: None, Health()
    )
    one.tokens_per_second = 1000
    return one


@pytest.mark.parametrize(("streams", "at_once"), [(1, 1), (2, 1), (4, 3)])
def test_while_somebody_searches_one_worker_is_left_that_computes_no_text_of_longer_than_the_target(streams, at_once):
    one, slow = several(streams), int(1000 * TARGET_SECONDS)
    assert one.budget().at_once(8192) == UNLIMITED
    one.backlog.last_small = time.monotonic()
    assert (one.budget().at_once(slow), one.budget().at_once(slow + 1)) == (UNLIMITED, at_once)


def test_a_text_that_needs_more_than_a_workers_share_of_the_memory_runs_alone_in_that():
    one = several(4, limit=100 * 1024)
    assert (one.budget().at_once(100), one.budget().at_once(101)) == (UNLIMITED, 1)


def test_only_the_first_search_waits_for_long_texts(monkeypatch):
    """A text of 2,000 tokens takes 0.4 s, of which both workers have one when the first search comes."""
    monkeypatch.setattr(worker, "TARGET_SECONDS", 0.1)
    model = backend(streams=2)
    seconds = []

    async def body():
        engine = Engine("fake", model, FakeTokenizer(), 4096, governor())
        await engine.start()
        model.fail = lambda batch: time.sleep(0.4 if len(batch[0]) > 1024 else 0)
        scan = asyncio.gather(*(engine.embed([f"{i}" * 2000]) for i in range(6)))
        await asyncio.sleep(0.05)
        while not scan.done():
            start = time.monotonic()
            await engine.embed([f"search {len(seconds)}"])
            seconds.append(time.monotonic() - start)
            await asyncio.sleep(0.02)
        await engine.close()

    asyncio.run(body())
    assert len(seconds) > 10
    assert max(seconds[1:]) < 0.3


def test_memory_bounds_a_batch_exactly():
    fits = idle_worker(limit=100 * 1024).budget().fits  # the fake backend wants 1 KiB a token
    assert fits(10, 10)
    assert not fits(10, 11)


@pytest.mark.parametrize(
    ("info", "limits", "within"),
    [
        ({"best_batch_tokens": 64}, {}, lambda batch: len(batch) * max(batch) <= 64),
        ({"best_batch_texts": 3}, {}, lambda batch: len(batch) <= 3),
        ({}, {"max_texts": 3}, lambda batch: len(batch) <= 3),
        ({"best_batch_texts": 3}, {"max_texts": 5, "explicit": True}, lambda batch: len(batch) <= 5),
        ({}, {"limit": 64 * 1024}, lambda batch: len(batch) * max(batch) <= 64),
    ],
)
def test_every_batch_that_runs_is_within_each_bound_and_makes_use_of_it(info, limits, within):
    model = backend(**info)

    async def body():
        engine = Engine("fake", model, FakeTokenizer(), 512, governor(**limits))
        await engine.start()
        model.batches.clear()
        await engine.embed([f"{i:08}" for i in range(48)])
        await engine.close()

    asyncio.run(body())
    assert all(within(batch) for batch in model.batches)
    assert max(len(batch) for batch in model.batches) >= 3
