"""The router's own rules, with replicas that are plain objects: routing by model, merged lists, clients that leave."""

import asyncio
import json

import httpx
import pytest

from embedserve.scaling.replica import Answer, Call, answer
from embedserve.scaling.router import RoutedModels


class Response:
    """As Ray's DeploymentResponse: awaited, or cancelled."""

    def __init__(self, work):
        self.task = asyncio.ensure_future(work)

    def __await__(self):
        return self.task.__await__()

    def cancel(self):
        self.task.cancel()


class Handle:
    """As Ray's DeploymentHandle of one model's replicas."""

    def __init__(self, *names, dead=False):
        self.all_names, self.dead = names, dead
        self.calls, self.cancelled = [], asyncio.Event()
        self.handle = self.names = self  # `handle.method.remote(...)`

    def remote(self, call=None):
        return Response(self._names() if call is None else self._answer(call))

    async def _names(self):
        return list(self.all_names)

    async def _answer(self, call: Call):
        self.calls.append(call)
        if self.dead:
            raise RuntimeError("the actor died")
        if b"slow" in call.body:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        content = {"data": [{"id": self.all_names[0], "default": True}], "served_by": self.all_names[0]}
        return Answer(200, [(b"content-type", b"application/json")], json.dumps(content).encode())


@pytest.fixture
def handles():
    return [Handle("first", "alias-of-first"), Handle("second", "Alias-Of-Second")]


def client_of(handles):
    app = RoutedModels([handle.all_names[0] for handle in handles], handles)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.mark.parametrize(
    ("model", "served_by"),
    [
        ({}, "first"),
        ({"model": ""}, "first"),
        ({"model": None}, "first"),
        ({"model": "second"}, "second"),
        ({"model": "SECOND"}, "second"),
        ({"model": "alias-of-second"}, "second"),
    ],
)
def test_a_request_goes_to_the_model_that_it_names(handles, model, served_by):
    async def run():
        async with client_of(handles) as client:
            return await client.post("/v1/embeddings", json={"input": "a", **model})

    assert asyncio.run(run()).json()["served_by"] == served_by


def test_a_model_that_nobody_has_is_404_and_names_those_served(handles):
    async def run():
        async with client_of(handles) as client:
            return await client.post("/v1/embeddings", json={"input": "a", "model": "third"})

    found = asyncio.run(run())
    assert (found.status_code, found.json()["error"]["code"]) == (404, "model_not_found")
    assert "first, second" in found.json()["error"]["message"]


def test_the_list_of_models_is_of_all_with_one_default(handles):
    async def run():
        async with client_of(handles) as client:
            return (await client.get("/v1/models")).json()["data"]

    assert asyncio.run(run()) == [{"id": "first", "default": True}, {"id": "second", "default": False}]


def test_a_body_that_is_no_json_reaches_the_default_model_which_refuses_it_in_its_own_words(handles):
    async def run():
        async with client_of(handles) as client:
            await client.post("/v1/embeddings", content=b'{"input": ')

    asyncio.run(run())
    assert handles[0].calls[0].body == b'{"input": '


def test_a_dead_replica_is_503_with_retry_after_which_clients_repeat():
    async def run():
        async with client_of([Handle("first", dead=True)]) as client:
            return await client.post("/v1/embeddings", json={"input": "a"})

    found = asyncio.run(run())
    assert found.status_code == 503
    assert int(found.headers["retry-after"]) > 0


def test_a_body_over_the_limit_is_413_before_any_replica_sees_it(handles, monkeypatch):
    monkeypatch.setenv("EMBEDDING_MAX_BODY_BYTES", "2000")

    async def run():
        async with client_of(handles) as client:
            return await client.post("/v1/embeddings", json={"input": "a" * 3000})

    assert asyncio.run(run()).status_code == 413
    assert not handles[0].calls


def test_a_client_that_leaves_cancels_its_request_in_the_replica(handles):
    async def run():
        messages = [{"type": "http.request", "body": b'{"input": "slow"}', "more_body": False}]
        gone = asyncio.Event()

        async def receive():
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(_message):
            raise AssertionError("nobody is there to answer")

        app = RoutedModels(["first"], handles[:1])
        scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": [], "query_string": b""}
        task = asyncio.ensure_future(app(scope, receive, send))
        while not handles[0].calls:
            await asyncio.sleep(0)
        gone.set()
        await task
        await asyncio.wait_for(handles[0].cancelled.wait(), 5)

    asyncio.run(run())


def test_a_complete_request_runs_through_an_asgi_application():
    async def app(scope, receive, send):
        message = await receive()
        assert not message["more_body"]
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-path", scope["path"].encode())]})
        await send({"type": "http.response.body", "body": message["body"][::-1], "more_body": True})
        await send({"type": "http.response.body", "body": b"!"})

    call = Call("POST", "/v1/embeddings", b"", [(b"host", b"localhost")], b"abc")
    found = asyncio.run(answer(app, call))
    assert found == Answer(201, [(b"x-path", b"/v1/embeddings")], b"cba!")
