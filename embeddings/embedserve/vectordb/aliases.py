"""Other names of collections, in a file of the storage folder that is replaced whole."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import orjson

from embedserve.vectordb.files import replace_json
from embedserve.vectordb.threads import in_thread

log = logging.getLogger(__name__)


class Aliases:
    """{alias: collection}."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        self._writing = asyncio.Lock()

    def load(self) -> None:
        """Blocking. A file that is no table of names is set aside and logged: the collections are served by their own
        names, and nothing is guessed."""
        if not self._path.exists():
            return
        try:
            found = orjson.loads(self._path.read_bytes())
            if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
                raise ValueError("not an object of names")
        except ValueError as error:
            kept = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}")
            self._path.rename(kept)
            log.error("%s is damaged (%s): kept as %s; no alias is known, set them again", self._path, error, kept.name)
        else:
            self._known = found

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
