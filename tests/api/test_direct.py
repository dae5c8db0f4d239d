"""The short way past FastAPI: which requests take it, and that errors look the same on both."""

import httpx

from embedserve.api.declare import RouteTable
from embedserve.api.routes import routers
from support.live import fake_server


def test_endpoints_that_take_the_request_alone_are_found_and_those_with_parameters_are_fastapis():
    table = RouteTable([route for router in routers() for route in router.routes])
    assert table.find("POST", "/v1/embeddings").endpoint is not None
    assert table.find("POST", "/openai/deployments/x/embeddings").endpoint is None
    assert table.find("POST", "/nowhere").endpoint is None


def test_both_ways_answer_alike():
    with fake_server() as server:
        for body in ({"input": ["a", "b"]}, {"input": []}, {"input": "x", "dimensions": 5}, {"nonsense": 1}):
            direct = server.post(body)
            through = httpx.post(f"{server.url}/openai/deployments/fake/embeddings", json=body)
            assert direct.status_code == through.status_code
            assert direct.content == through.content
            dropped = {"date", "x-request-id"}
            assert {k: v for k, v in direct.headers.items() if k not in dropped} == {
                k: v for k, v in through.headers.items() if k not in dropped
            }
