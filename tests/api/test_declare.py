"""A route says what it is, and the middleware does it: nothing keeps a list of paths."""

import httpx
import pytest
from fastapi import APIRouter
from fastapi.responses import Response

from embedserve.api.declare import EMBEDS, OPEN, PLAIN, UNKNOWN, RouteTable, declare
from embedserve.api.routes import routers
from support.live import fake_server

router = APIRouter()


@router.post("/v1/embeddings")
@router.post("/of/{name}/embeddings")
@declare(EMBEDS)
async def embeds() -> Response: ...


@router.get("/health")
@declare(OPEN)
async def health() -> Response: ...


@router.get("/v1/embeddings")
async def plain() -> Response: ...


@pytest.mark.parametrize(
    ("method", "path", "label", "traits"),
    [
        ("POST", "/v1/embeddings", "/v1/embeddings", EMBEDS),
        ("POST", "/of/x-y/embeddings", "/of/{name}/embeddings", EMBEDS),
        ("GET", "/health", "/health", OPEN),
        ("GET", "/v1/embeddings", "/v1/embeddings", PLAIN),
    ],
)
def test_a_route_gives_its_requests_what_it_declares(method, path, label, traits):
    found = RouteTable(router.routes).find(method, path)
    assert (found.label, found.traits) == (label, traits)


@pytest.mark.parametrize(("method", "path"), [("GET", "/of/x/embeddings"), ("POST", "/health"), ("POST", "/nowhere")])
def test_a_request_that_no_route_answers_is_let_through_to_its_404(method, path):
    assert RouteTable(router.routes).find(method, path) is UNKNOWN


def test_every_route_that_takes_a_body_is_admitted():
    """Law: a POST route that forgot to declare itself would read bodies without slot, limit and deadline."""
    posts = [route for router in routers() for route in router.routes if "POST" in route.methods]
    assert posts
    assert [route.path for route in posts if not route.endpoint.embedserve_traits.admitted] == []


def test_paths_with_doubled_or_trailing_slashes_are_the_same_routes():
    with fake_server() as server:
        for path in ("/v1//embeddings", "//v1/embeddings/", "/embeddings/"):
            answer = httpx.post(server.url + path, json={"input": "x"})
            assert answer.status_code == 200, path


def test_only_open_routes_answer_without_the_key():
    with fake_server(api_key="k") as server:
        statuses = {
            path: httpx.get(server.url + path).status_code
            for path in (
                "/health",
                "/ready",
                "/metrics",
                "/docs",
                "/openapi.json",
                "/",
                "/v1/models",
                "/status.json",
                "/nowhere",
            )
        }
        assert {path for path, status in statuses.items() if status == 401} == {
            "/v1/models",
            "/status.json",
            "/nowhere",
        }
        assert httpx.head(server.url + "/health").status_code == 200
