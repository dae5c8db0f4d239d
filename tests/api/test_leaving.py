"""Work for a client that has left is cancelled, whenever it leaves; a cancellation from outside stays one."""

import asyncio

import pytest

from embedserve.api import admission
from embedserve.api.admission import AdmissionOptions, ClientLeft, _Body, _UnlessLeft


def body(left):
    async def receive():
        await left.wait()
        return {"type": "http.disconnect"}

    return _Body(receive, AdmissionOptions(1000, 10, 10), declared=0, complete=True)


@pytest.mark.parametrize("after", [0.0, 0.01, 0.05])
def test_a_client_that_leaves_ends_the_work(monkeypatch, after):
    monkeypatch.setattr(admission, "_WATCH_AFTER", 0.02)

    async def test():
        left = asyncio.Event()
        asyncio.get_running_loop().call_later(after, left.set)
        with pytest.raises(ClientLeft):
            async with _UnlessLeft(body(left)):
                await asyncio.sleep(10)
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)  # nothing is left to be cancelled

    asyncio.run(test())


def test_work_that_ends_first_is_not_disturbed_and_leaves_no_watch(monkeypatch):
    monkeypatch.setattr(admission, "_WATCH_AFTER", 0.0)

    async def test():
        left = asyncio.Event()
        async with _UnlessLeft(body(left)):
            await asyncio.sleep(0.02)
        left.set()
        await asyncio.sleep(0.02)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(test())


def test_a_cancellation_from_outside_is_not_taken_for_a_client_that_left(monkeypatch):
    monkeypatch.setattr(admission, "_WATCH_AFTER", 0.0)

    async def test():
        left = asyncio.Event()

        async def work():
            async with _UnlessLeft(body(left)):
                await asyncio.sleep(10)

        task = asyncio.create_task(work())
        await asyncio.sleep(0.02)
        left.set()
        task.cancel()  # the server's drain is over
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(test())
