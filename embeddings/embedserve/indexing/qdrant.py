"""Speaks to Qdrant by REST: any Qdrant, the server, the embedded one, Cloud.

Our own few lines over httpx, since importing `qdrant_client` takes longer than a search. A request gives Qdrant's
`result`; a refusal is a `Refused` with its status, anything else that goes wrong an IndexingFailed that says what to
do. A write that met a broken connection is tried again: all of ours can be repeated.

A `url` without a port means port 6333, as for qdrant-client (in Roo Code and Zoo Code it means 80 or 443).
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import orjson

from embedserve.errors import IndexingFailed
from embedserve.indexing.workspace import is_this_machine

RETRIES = (0.5, 1.0, 2.0, 4.0)


class Refused(IndexingFailed):
    """Qdrant answered with an error. `status`: of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Qdrant:
    """One Qdrant. `url` as given, for messages."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url
        headers = {"content-type": "application/json", **({"api-key": api_key} if api_key else {})}
        self._client = httpx.AsyncClient(
            base_url=with_port(url),
            headers=headers,
            timeout=httpx.Timeout(60.0, connect=5.0),
            limits=httpx.Limits(max_connections=32),
            trust_env=not is_this_machine(url),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request. Raises Refused, IndexingFailed."""
        try:
            return await self._once(method, path, body)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    async def write(self, method: str, path: str, body: Any = None) -> Any:
        """A request that can be repeated, tried again while the connection is broken."""
        for pause in RETRIES:
            try:
                return await self._once(method, path, body)
            except httpx.HTTPError:
                await asyncio.sleep(pause)
        return await self.call(method, path, body)

    async def _once(self, method: str, path: str, body: Any) -> Any:
        content = None if body is None else orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        response = await self._client.request(method, path, content=content)
        if not response.is_success:
            raise Refused(response.status_code, _refusal(response, self.url))
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise IndexingFailed(f"{self.url} answers, but not as Qdrant does: is --qdrant-url right?")
        return answer.get("result", answer)

    def _unreachable(self, error: httpx.HTTPError) -> IndexingFailed:
        reason = str(error) or type(error).__name__
        return IndexingFailed(
            f"Qdrant at {self.url} does not answer ({reason}); start it with "
            "`embedserve qdrant` or `scripts/manage.sh start qdrant`, or see --qdrant-url"
        )


def with_port(url: str) -> str:
    """`url` with port 6333 where it has none, and with http:// where it has no scheme. Raises IndexingFailed."""
    if "://" not in url:
        url = "http://" + url
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
        parts = parts._replace(netloc="")
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise IndexingFailed(f"{url} is no URL of Qdrant; give one like http://127.0.0.1:6333 with --qdrant-url")
    netloc = parts.netloc if port else f"{parts.netloc}:6333"
    return parts._replace(netloc=netloc, path=parts.path.rstrip("/")).geturl()


def collection_path(name: str, rest: str = "") -> str:
    return f"/collections/{quote(name, safe='')}{rest}"


def _refusal(response: httpx.Response, url: str) -> str:
    if response.status_code in (401, 403):
        return f"Qdrant at {url} refuses the API key; give the right one with --qdrant-api-key or QDRANT_API_KEY"
    try:
        detail = str(orjson.loads(response.content)["status"]["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        detail = response.text.strip()
    return f"Qdrant at {url} answered {response.status_code}: {detail[:300]}"
