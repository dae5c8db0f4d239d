"""The longest block of the event loop is measured while requests are in flight, and an idle server has no timer."""

import asyncio
import time

import httpx
from starlette.responses import PlainTextResponse

from embedserve.web import event_loop
from embedserve.web.event_loop import STEP, LoopWatch
from support.live import fake_server

BLOCK = 0.2


def blocked_by(act, monkeypatch):
    """What the watch says of an application that does `act` for one of two requests."""
    monkeypatch.setattr(event_loop, "_without_a_core", lambda: 0.0)

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
        monkeypatch.setattr(event_loop, "_without_a_core", lambda: next(starved))
        watch = LoopWatch(app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(watch), base_url="http://x") as client:
            await client.get("/")
        await asyncio.sleep(3 * STEP)
        return watch.longest

    assert asyncio.run(body()) < BLOCK / 2


def test_a_block_of_the_service_is_in_its_metrics(monkeypatch):
    monkeypatch.setattr(event_loop, "_without_a_core", lambda: 0.0)
    with fake_server() as server:
        monkeypatch.setattr("embedserve.api.routes.service.health_of", lambda runtime: time.sleep(3 * BLOCK))
        httpx.get(server.url + "/health")
        lines = httpx.get(server.url + "/metrics").text.splitlines()
    (said,) = (line.split()[1] for line in lines if line.startswith("embedserve_event_loop_blocked_max_seconds "))
    assert float(said) > 2 * BLOCK
