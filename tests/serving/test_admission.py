import asyncio

import pytest

from embedserve import observability as obs
from embedserve.errors import TooManyRequests
from embedserve.serving.admission import Admission


def test_large_requests_never_take_the_kept_slot():
    async def body():
        admission = Admission(slots=3, queue_size=10, timeout=5)
        for _ in range(2):
            await admission.acquire(small=False)
        third = asyncio.create_task(admission.acquire(small=False))
        await asyncio.sleep(0.01)
        assert not third.done()
        await asyncio.wait_for(admission.acquire(small=True), 1)
        admission.release(small=False)
        await asyncio.wait_for(third, 1)
        assert admission.active == 3

    asyncio.run(body())


def test_a_cancelled_waiter_leaves_no_slot_behind():
    async def body():
        admission = Admission(slots=2, queue_size=10, timeout=5)
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
        for small in (True, False):
            await admission.acquire(small=small)
        with pytest.raises(TooManyRequests, match="QUEUE_SIZE"):
            admission.enter()
        with pytest.raises(TooManyRequests, match="QUEUE_TIMEOUT"):
            await admission.acquire(small=True)
        assert obs.REFUSED._value.get() - before == 2

    asyncio.run(body())


def test_waiting_is_measured():
    async def body():
        admission = Admission(slots=2, queue_size=4, timeout=5)
        await admission.acquire(small=False)
        admission.enter()
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
