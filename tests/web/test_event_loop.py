"""The longest block of the event loop is measured while requests are in flight, and an idle server has no timer."""

import asyncio
import threading
import time

import httpx
import pytest
from starlette.responses import PlainTextResponse

from embedserve.web import event_loop
from embedserve.web.event_loop import STEP, Clock, LoopWatch, clock, clocks, ours
from support.live import fake_server

BLOCK = 0.2


def blocked_by(act, monkeypatch):
    """What the watch says of an application that does `act` for one of two requests."""
    monkeypatch.setattr(event_loop, "clock", lambda thread: Clock())

    async def app(scope, receive, send):
        if scope["path"] == "/act":
            await act()
        await PlainTextResponse("in")(scope, receive, send)

    async def body():
        watch = LoopWatch(app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(watch), base_url="http://x") as client:
            await client.get("/act")
        await asyncio.sleep(3 * STEP)
        assert watch._timer is None, "an idle loop wakes up"
        return watch

    return asyncio.run(body())


async def block():
    time.sleep(BLOCK)  # noqa: ASYNC251  # that is what is measured


async def wait():
    await asyncio.sleep(BLOCK)


def test_a_blocking_handler_is_measured_to_a_step(monkeypatch):
    assert BLOCK - 2 * STEP <= blocked_by(block, monkeypatch).longest < 2 * BLOCK


def test_a_waiting_handler_blocks_nothing(monkeypatch):
    assert blocked_by(wait, monkeypatch).longest < BLOCK / 2


def test_time_without_a_core_is_the_machines_and_not_ours(monkeypatch):
    starved = iter([0.0, BLOCK] + [BLOCK] * 100)

    async def app(scope, receive, send):
        await block()
        await PlainTextResponse("in")(scope, receive, send)

    async def body():
        monkeypatch.setattr(event_loop, "clock", lambda thread: Clock(0.0, next(starved)))
        watch = LoopWatch(app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(watch), base_url="http://x") as client:
            await client.get("/")
        await asyncio.sleep(3 * STEP)
        return watch

    watch = asyncio.run(body())
    assert watch.longest < BLOCK / 2
    assert watch.late > BLOCK - 2 * STEP  # as a client saw it


@pytest.mark.parametrize(
    ("what", "after", "expected"),
    [
        ("the holder of the interpreter waited for a core", {1: (0, 0.02), 2: (0.01, 0.09)}, 0.01),
        ("it computed, and another thread waited for a core", {1: (0, 0.02), 2: (0.08, 0), 3: (0, 0.09)}, 0.08),
        ("it slept with the interpreter", {1: (0, 0.02), 2: (0, 0)}, 0.08),
        ("the loop itself computed", {1: (0.07, 0.02), 3: (0, 0.05)}, 0.07),
        ("nothing is known of the others", {}, 0.08),
        ("a thread is new", {1: (0, 0.02), 4: (9, 9)}, 0.08),
    ],
)
def test_what_a_block_of_100_ms_is_of_ours_of_which_the_loop_waited_20_for_a_core(what, after, expected):
    before = dict.fromkeys((1, 2, 3), Clock()) if after else {}
    found = ours(0.1, 0.02, before, lambda: {thread: Clock(*spent) for thread, spent in after.items()})
    assert found == pytest.approx(expected), what


def test_a_threads_clock_is_what_the_kernel_says():
    mine = threading.get_native_id()
    if clock(mine) == Clock():
        pytest.skip("this kernel does not say")
    before, start = clocks()[mine].computed, time.thread_time()
    while time.thread_time() < start + 0.05:
        pass
    assert 0.04 < clock(mine).computed - before < 0.5
    assert clock(2**22 + 1) == Clock()  # no such thread


def test_a_block_of_the_service_is_in_its_metrics(monkeypatch):
    monkeypatch.setattr(event_loop, "clock", lambda thread: Clock())
    with fake_server() as server:
        monkeypatch.setattr("embedserve.api.routes.service.health_of", lambda runtime: time.sleep(3 * BLOCK))
        httpx.get(server.url + "/health")
        lines = httpx.get(server.url + "/metrics").text.splitlines()
    (said,) = (line.split()[1] for line in lines if line.startswith("embedserve_event_loop_blocked_max_seconds "))
    assert float(said) > 2 * BLOCK
