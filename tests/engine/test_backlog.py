"""The backlog's laws: order and fairness of micro-batches, sharing, dropping, every future resolves."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedserve.engine.backlog import Backlog, Job
from embedserve.engine.planner import UNLIMITED, Budget
from embedserve.errors import InferenceFailed, NotReady

BUDGET = Budget(tokens=64, texts=4, worth=16)


def ids(length, salt=0):
    return np.full(length, salt, dtype=np.int32)


def submit(backlog, loop, lengths, salt=0, small=False):
    job = Job(loop, len(lengths), 2, small=small)
    keys = [f"{salt}:{i}".encode() for i in range(len(lengths))]
    backlog.submit(job, keys, [ids(n, i) for i, n in enumerate(lengths)])
    return job


def compute(backlog):
    """Run one micro-batch; the vector of an item is (length, first id)."""
    batch = backlog.take(lambda: BUDGET)
    backlog.complete(batch, np.array([[item.length, item.ids[0]] for item in batch], dtype=np.float32))
    return batch


def on_loop(test):
    def run(*args, **kwargs):
        async def body():
            await test(asyncio.get_running_loop(), *args, **kwargs)

        asyncio.run(body())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


@on_loop
async def test_rows_come_back_in_the_requests_order(loop):
    backlog = Backlog()
    job = submit(backlog, loop, [9, 3, 30, 5])
    while len(backlog):
        compute(backlog)
    assert (await job.future)[:, 0].tolist() == [9, 3, 30, 5]


@on_loop
async def test_neighbours_in_length_of_other_requests_fill_the_batch(loop):
    backlog = Backlog()
    submit(backlog, loop, [20, 4], salt=1)
    submit(backlog, loop, [19, 5, 18], salt=2)
    assert sorted(item.length for item in compute(backlog)) == [18, 19, 20]


@on_loop
async def test_the_oldest_request_is_served_first_whatever_its_lengths(loop):
    backlog = Backlog()
    first = submit(backlog, loop, [2], salt=1)
    submit(backlog, loop, [60] * 50, salt=2)
    compute(backlog)
    await asyncio.wait_for(first.future, 1)


@on_loop
async def test_a_small_job_goes_first_but_never_starves_the_others(loop):
    backlog = Backlog()
    submit(backlog, loop, [60] * 3)
    seen = []
    for i in range(20):
        submit(backlog, loop, [3], salt=f"s{i}", small=True)
        seen.append(compute(backlog)[0].length)
    assert seen[0] == 3
    assert seen.count(60) >= 2


def one_long_at_a_time(length):
    return 1 if length >= 100 else UNLIMITED


LONG_ALONE = replace(BUDGET, at_once=one_long_at_a_time)


@on_loop
async def test_a_long_text_waits_for_the_one_that_runs_and_the_others_pass_it(loop):
    backlog = Backlog()
    submit(backlog, loop, [100, 200, 300, 9], salt=1)
    submit(backlog, loop, [150, 8], salt=2)
    first = backlog.take(lambda: LONG_ALONE)
    assert [item.length for item in first] == [300]
    assert sorted(item.length for item in backlog.take(lambda: LONG_ALONE)) == [8, 9]
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(backlog.take, lambda: LONG_ALONE)
        await asyncio.sleep(0.05)
        assert not waits.done()
        submit(backlog, loop, [7], salt=3)  # what may run beside it still does
        assert [item.length for item in waits.result(5)] == [7]
        waits = pool.submit(backlog.take, lambda: LONG_ALONE)
        await asyncio.sleep(0.05)
        assert not waits.done()
        backlog.complete(first, np.ones((1, 2), dtype=np.float32))  # wakes the worker that waits for it
        try:
            assert [item.length for item in waits.result(5)] == [200]
        finally:
            backlog.close(NotReady("the test is over"))


@on_loop
async def test_a_long_text_that_ended_in_whatever_way_lets_the_next_one_run(loop):
    for end in ("complete", "fail", "cancel", "fail_all"):
        backlog = Backlog()
        job = submit(backlog, loop, [300], salt=1)
        batch = backlog.take(lambda: LONG_ALONE)
        if end == "cancel":  # its client has gone while it runs
            backlog.cancel(job)
        elif end == "fail_all":
            backlog.fail_all(NotReady("injected"))
        submit(backlog, loop, [200], salt=2)
        if end == "fail":
            backlog.fail(batch, InferenceFailed("injected"))
        else:
            backlog.complete(batch, np.ones((1, 2), dtype=np.float32))
        assert [item.length for item in backlog.take(lambda: LONG_ALONE)] == [200]


@on_loop
async def test_while_many_search_at_once_the_others_come_in_halves_until_a_second_after(loop):
    def scanned(backlog):
        batch = backlog.take(lambda: Budget(tokens=400, texts=100, worth=100))
        backlog.complete(batch, np.ones((len(batch), 2), dtype=np.float32))
        return len(batch)

    for at_once, expected in ((1, 40), (2, 40), (16, 20)):
        backlog = Backlog()
        submit(backlog, loop, [10] * 600)
        for turn in range(4):
            for i in range(at_once):
                submit(backlog, loop, [3], salt=f"{turn}, {i}", small=True)
            waiting = at_once
            while waiting:
                waiting -= sum(item.length == 3 for item in compute(backlog))
        assert scanned(backlog) == expected, at_once
        backlog.last_small -= 1.1
        assert scanned(backlog) == 40, at_once


@on_loop
async def test_a_small_job_takes_a_text_that_waits_in_a_scan_with_it(loop):
    backlog = Backlog()
    submit(backlog, loop, [60] * 20 + [3], salt="same")
    search = Job(loop, 1, 2, small=True)
    backlog.submit(search, [b"same:20"], [ids(3, 20)])
    assert [item.length for item in compute(backlog)] == [3]
    await asyncio.wait_for(search.future, 1)


@on_loop
async def test_an_error_reaches_every_request_of_the_batch_once_and_drops_the_rest(loop):
    backlog = Backlog()
    one, two = submit(backlog, loop, [10] * 2, salt=1), submit(backlog, loop, [10] * 10, salt=2)
    batch = backlog.take(lambda: BUDGET)
    backlog.fail(batch, InferenceFailed("injected"))
    for job in (one, two):
        with pytest.raises(InferenceFailed):
            await job.future
    assert len(backlog) == 0


@on_loop
async def test_a_cancelled_jobs_texts_go_unless_somebody_else_wants_them(loop):
    backlog = Backlog()
    one, two = submit(backlog, loop, [10] * 3, salt="x"), submit(backlog, loop, [10, 10], salt="x")
    backlog.cancel(one)
    assert len(backlog) == 2
    assert backlog.dropped == 1
    compute(backlog)
    await asyncio.wait_for(two.future, 1)


@on_loop
async def test_closing_fails_what_waits_and_what_comes(loop):
    backlog = Backlog()
    waiting = submit(backlog, loop, [10])
    backlog.close(NotReady("stopping"))
    late = submit(backlog, loop, [10])
    for job in (waiting, late):
        with pytest.raises(NotReady):
            await job.future
    assert backlog.take(lambda: BUDGET) is None


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.integers(1, 70), min_size=1, max_size=12), st.booleans(), st.sampled_from("ab"))),
    st.data(),
)
def test_every_future_resolves_and_every_row_is_right(jobs, data):
    """Whatever mixture of jobs, shared texts, cancellations and failures."""

    async def body():
        loop = asyncio.get_running_loop()
        backlog = Backlog()
        open_jobs, cancelled = [], set()
        for lengths, small, salt in jobs:
            job = Job(loop, len(set(lengths)), 2, small=small)
            distinct = list(dict.fromkeys(lengths))
            backlog.submit(job, [f"{salt}{n}".encode() for n in distinct], [ids(n) for n in distinct])
            open_jobs.append((job, distinct))
            action = data.draw(st.sampled_from(["none", "compute", "cancel", "fail"]))
            if action == "cancel":
                backlog.cancel(job)
                cancelled.add(job)
            elif action != "none" and len(backlog):
                batch = backlog.take(lambda: BUDGET)
                if action == "fail":
                    backlog.fail(batch, InferenceFailed("injected"))
                else:
                    backlog.complete(batch, np.array([[i.length, 0] for i in batch], dtype=np.float32))
        while len(backlog):
            compute(backlog)
        await asyncio.sleep(0)
        for job, distinct in open_jobs:
            if job in cancelled:
                continue
            assert job.future.done()
            if job.future.exception() is None:
                assert job.future.result()[:, 0].tolist() == distinct

    asyncio.run(body())


@on_loop
async def test_what_waits_is_counted_once_when_all_fails_and_a_client_leaves_afterwards(loop):
    backlog = Backlog()
    job = submit(backlog, loop, [9, 3])
    backlog.fail_all(NotReady("gone"))
    backlog.cancel(job)
    again = submit(backlog, loop, [9, 3])
    assert len(backlog) == 2
    compute(backlog)
    assert len(backlog) == backlog._waiting_tokens == 0
    with pytest.raises(NotReady):
        await job.future
    await again.future


@on_loop
async def test_one_text_wakes_one_of_the_idle_workers(loop):
    """One that wakes and finds nothing takes the interpreter from the one that works: half a millisecond a search."""
    woken = []

    class Counting(threading.Condition):
        def wait(self, timeout=None):
            waiting.release()
            done = super().wait(timeout)
            woken.append(threading.get_ident())
            return done

    waiting = threading.Semaphore(0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading, "Condition", Counting)
        backlog = Backlog()
    workers = [threading.Thread(target=worker, args=(backlog,)) for _ in range(4)]
    for thread in workers:
        thread.start()
    for _ in workers:
        assert await asyncio.to_thread(waiting.acquire, timeout=10)
    await submit(backlog, loop, [5], small=True).future
    assert await asyncio.to_thread(waiting.acquire, timeout=10)  # the one that computed waits again
    await asyncio.sleep(0.05)
    assert len(woken) == 1
    backlog.close(NotReady("the end"))
    for thread in workers:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


def worker(backlog):
    while (batch := backlog.take(lambda: BUDGET)) is not None:
        backlog.complete(batch, np.array([[item.length, item.ids[0]] for item in batch], dtype=np.float32))
