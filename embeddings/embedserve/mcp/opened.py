"""Opens the workspace for one tool call, and turns what goes wrong into a tool error: the sentence that says what to
do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from mcp.server.mcpserver.exceptions import ToolError

from embedserve.errors import IndexingFailed
from embedserve.indexing.connection import Connection
from embedserve.indexing.daemon import in_daemon_thread
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.first import answer, workspace_of
from embedserve.indexing.search import Answer, Query, find
from embedserve.indexing.several import asked_in, holder, merged
from embedserve.indexing.shared import split_path
from embedserve.indexing.store import Store

PATIENCE = 20.0  # seconds that a call waits for a service that says "later"; an agent waits with it


@dataclass(frozen=True)
class Opener:
    """Where the workspaces are. `nearest`: take the nearest indexed folder at or above the only one."""

    connection: Connection
    folders: tuple[str, ...]
    nearest: bool = False

    @property
    def several(self) -> bool:
        return len(self.folders) > 1

    def each(self) -> list[Opener]:
        """One for each folder."""
        return [replace(self, folders=(folder,)) for folder in self.folders]

    def of(self, path: str) -> Opener:
        """For the folder that a file is in. Raises ToolError: none of several."""
        if not self.several:
            return self
        folder = holder(self.folders, path)
        if folder is None:
            raise ToolError(f"{path} is in none of {', '.join(self.folders)}; give an absolute path inside one of them")
        return replace(self, folders=(folder,))

    def place(self, path: str) -> tuple[Opener, str]:
        """Where a file is, and its path there: of a collection, in the repository that it names. Raises ToolError."""
        if not self.connection.collection:
            return self.of(path), path
        repository, inside = split_path(path)
        if not repository:
            if len(self.connection.repositories) != 1:
                raise ToolError(f"{path} names no repository; give it as search_code shows it: REPOSITORY//PATH")
            return self, inside
        return self.within(repository), inside

    def within(self, repository: str) -> Opener:
        """Of a collection, this repository. Raises ToolError: it is none of those that are served."""
        served = self.connection.repositories
        if served and repository not in served:
            raise ToolError(f"the repository {repository} is not served here; served: {', '.join(served)}")
        return replace(self, connection=replace(self.connection, repositories=(repository,)))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Store, Embedder]]:
        """The workspace's store and an embedder; IndexingFailed inside becomes a tool error."""
        try:
            async with self.connection.open(self.folders[0], nearest=self.nearest, patience=PATIENCE) as both:
                yield both
        except IndexingFailed as error:
            raise ToolError(error.message) from None

    async def answer(self, query: Query) -> Answer:
        """What is found, in all folders. One that was never indexed is indexed: by words at once, vectors behind. A
        folder that cannot answer is a note where another one can."""
        if not self.several:
            return await self._answer(query)
        try:
            folders = asked_in(self.folders, query.path_prefix)
        except IndexingFailed as error:
            raise ToolError(error.message) from None
        asked = [replace(self, folders=(folder,))._answer(query) for folder in folders]
        found = list(zip(folders, await asyncio.gather(*asked, return_exceptions=True), strict=True))
        failed = [error for _, error in found if isinstance(error, BaseException)]
        wrong = next((error for error in failed if not isinstance(error, ToolError)), None)
        if failed and (wrong or len(failed) == len(found)):
            raise wrong or failed[0]
        answers = [(folder, Answer([], [str(a)]) if isinstance(a, BaseException) else a) for folder, a in found]
        return merged(answers, query.limit)

    async def _answer(self, query: Query) -> Answer:
        async with self.open() as (store, embedder):
            if self.connection.collection:
                return await find(store, embedder, query, None)
            store.to(await workspace_of(self.connection, store, not self.nearest))
            return await answer(self.connection, store, embedder, query, in_daemon_thread)


def checked(name: str, value: int, least: int, most: int) -> int:
    """`value`, or a tool error that says what to give."""
    if not least <= value <= most:
        raise ToolError(f"{name} is {value}; give a number from {least} to {most}")
    return value
