"""Speaks to Qdrant by REST: any Qdrant, the server, the embedded one, Cloud.

Our own few lines over httpx, since importing `qdrant_client` takes longer than a search. A request gives Qdrant's
`result`; a refusal is a `Refused` with its status, anything else that goes wrong an IndexingFailed that says what to
do. A write that met a broken connection is tried again: all of ours can be repeated.

A `url` without a port means port 6333, as for qdrant-client (in Roo Code and Zoo Code it means 80 or 443).
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson

from embedserve.errors import IndexingFailed
from embedserve.indexing.rest import Refused, qdrant_refusal, qdrant_unreachable, with_port
from embedserve.indexing.workspace import is_this_machine

RETRIES = (0.5, 1.0, 2.0, 4.0)


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
            raise IndexingFailed(qdrant_unreachable(self.url, error)) from None

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
            raise Refused(response.status_code, qdrant_refusal(response.status_code, response.content, self.url))
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise IndexingFailed(f"{self.url} answers, but not as Qdrant does: is --qdrant-url right?")
        return answer.get("result", answer)
