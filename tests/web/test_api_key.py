"""Who gets past ApiKey."""

import asyncio

import httpx
import orjson
import pytest
from starlette.responses import PlainTextResponse

from embedserve.web.api_key import ApiKey


def status(headers=None, path="/x", key="s3cret"):
    async def request():
        app = ApiKey(
            PlainTextResponse("in"),
            key=key,
            is_open=lambda scope: scope["path"] == "/health",
            error_body=lambda status, error: orjson.dumps({"error": error.message}),
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
            return await client.get(path, headers=headers)

    response = asyncio.run(request())
    assert response.status_code == 200 or response.headers["www-authenticate"] == "Bearer"
    assert "s3cret" not in response.text
    return response.status_code


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer s3cret"}, {"authorization": "bearer s3cret"}, {"api-key": "s3cret"},
     {"api-key": "s3cret", "Authorization": "Bearer other"},
     {"api-key": "other", "Authorization": "Bearer s3cret"}],
)  # fmt: skip
def test_the_key_in_either_header_lets_in(headers):
    assert status(headers) == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer s3cre"}, {"Authorization": "Bearer s3cret2"},
     {"Authorization": "s3cret"}, {"Authorization": "Basic s3cret"},
     {"api-key": ""}, {"api-key": "S3CRET"}, {"x-api-key": "s3cret"}],
)  # fmt: skip
def test_a_missing_or_wrong_key_is_401(headers):
    assert status(headers) == 401


def test_a_key_of_other_letters_than_ascii_works():
    assert status({"api-key": "ключ".encode()}, key="ключ") == 200


def test_open_routes_need_no_key():
    assert status(path="/health") == 200
    assert status(path="/health?x=1") == 200
    assert status(path="/health/x") == 401
    assert status(path="/healthz") == 401


def test_an_empty_key_is_an_error_at_construction():
    with pytest.raises(ValueError, match="empty"):
        ApiKey(PlainTextResponse("in"), key="", error_body=lambda status, error: b"", is_open=lambda scope: False)
