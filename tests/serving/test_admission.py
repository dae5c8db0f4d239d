import asyncio

import pytest

from embedserve import observability as obs
from embedserve.errors import TooManyRequests
from embedserve.serving.admission import Admission


@pytest.mark.parametrize("crowd", [False, True])
def test_a_crowd_of_one_class_costs_the_other_nothing(crowd):
    """A scan left one slot for all searches: eight at once took 2.9 s."""

    async def body():
        admission = Admission(slots=3, queue_size=10, timeout=5)
        slots = 32 if crowd else 3
        for _ in range(slots):
            await admission.acquire(small=crowd)
        waits = asyncio.create_task(admission.acquire(small=crowd))
        await asyncio.sleep(0.01)
        assert not waits.done()
        for _ in range(3 if crowd else 32):
            admission.enter(small=not crowd)
            await asyncio.wait_for(admission.acquire(small=not crowd), 1)
            admission.leave(small=not crowd)
        admission.release(small=crowd)
        await asyncio.wait_for(waits, 1)
        assert admission.active == 35

    asyncio.run(body())


@pytest.mark.parametrize("small", [False, True])
def test_a_class_with_a_full_room_refuses_and_the_other_goes_on(small):
    """Regression: under large load alone no large request was ever refused: 13 waited where 2 were allowed."""

    async def body():
        admission = Admission(slots=2, queue_size=2, timeout=5)
        slots = 32 if small else 2
        for _ in range(slots):
            admission.enter(small=small)
            await admission.acquire(small=small)
            admission.leave(small=small)
        for _ in range(2):  # whether they wait for a slot already or send their bodies still
            admission.enter(small=small)
        with pytest.raises(TooManyRequests, match="2 requests wait"):
            admission.enter(small=small)
        admission.enter(small=not small)
        admission.leave(small=small)
        admission.enter(small=small)
        assert admission.waiting == 3

    asyncio.run(body())

    asyncio.run(body())


def test_a_cancelled_waiter_leaves_no_slot_behind():
    async def body():
        admission = Admission(slots=1, queue_size=10, timeout=5)
        await admission.acquire(small=False)
        waiters = [asyncio.create_task(admission.acquire(small=False)) for _ in range(3)]
        await asyncio.sleep(0.01)
        waiters[0].cancel()
        admission.release(small=False)
        waiters[1].cancel()  # its turn may just have come
        await asyncio.wait_for(waiters[2], 1)
        admission.release(small=False)
        await asyncio.wait_for(admission.acquire(small=False), 1)

    asyncio.run(body())


def test_a_wait_over_the_timeout_and_a_full_room_are_refused_and_counted():
    async def body():
        before = obs.REFUSED._value.get()
        admission = Admission(slots=2, queue_size=0, timeout=0.01)
        for _ in range(2):
            await admission.acquire(small=False)
        with pytest.raises(TooManyRequests, match="QUEUE_SIZE"):
            admission.enter(small=False)
        with pytest.raises(TooManyRequests, match="QUEUE_TIMEOUT"):
            await admission.acquire(small=False)
        assert obs.REFUSED._value.get() - before == 2

    asyncio.run(body())


def test_waiting_is_measured():
    async def body():
        admission = Admission(slots=1, queue_size=4, timeout=5)
        await admission.acquire(small=False)
        admission.enter(small=False)
        waiter = asyncio.create_task(admission.acquire(small=False))
        await asyncio.sleep(0.05)
        admission.release(small=False)
        assert await waiter >= 0.04
        stats = admission.take_stats()
        assert (stats.admitted, stats.deepest) == (2, 1)
        assert stats.longest >= 0.04
        assert stats.average < stats.longest
        assert admission.take_stats().admitted == 0

    asyncio.run(body())
