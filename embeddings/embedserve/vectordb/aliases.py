"""Other names of collections, in a file of the storage folder that is replaced whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson

from embedserve.vectordb.files import replace_json
from embedserve.vectordb.threads import in_thread


class Aliases:
    """{alias: collection}."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        self._writing = asyncio.Lock()

    def load(self) -> None:
        """Blocking."""
        if self._path.exists():
            self._known = dict(orjson.loads(self._path.read_bytes()))

    def all(self) -> dict[str, str]:
        return dict(self._known)

    def resolve(self, name: str) -> str:
        return self._known.get(name, name)

    async def replace(self, aliases: dict[str, str]) -> None:
        async with self._writing:
            await in_thread(replace_json, self._path, aliases)
            self._known = aliases

    async def forget(self, collection: str) -> None:
        """The collection is gone, and with it its aliases."""
        kept = {alias: name for alias, name in self._known.items() if name != collection}
        if kept != self._known:
            await self.replace(kept)
