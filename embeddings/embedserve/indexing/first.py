"""What a search does before it searches: words of what is new now, vectors behind.

The words of a tree that was never indexed are read in a second or two, and searched at once; those of a few changed
files in less (`fresh.py`). Vectors take as long as the model does; they are
made by `embedserve index` in a process of its own that outlives the search.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from embedserve.errors import IndexingFailed
from embedserve.indexing.connection import Connection
from embedserve.indexing.fresh import behind, counted, freshen
from embedserve.indexing.lexical import Lexicon, drop_lexicon, is_damage, open_lexicon
from embedserve.indexing.search import Answer, Query, find
from embedserve.indexing.store import Store

if TYPE_CHECKING:
    from embedserve.indexing.embedder import Embedder
    from embedserve.indexing.rest import LightEmbedder

Runner = Callable[..., Awaitable[str]]
STALE_SECONDS = 6 * 3600.0  # a note of a process that is older may be of another one with the same number


async def answer(
    where: Connection, store: Store, embedder: Embedder | LightEmbedder, query: Query, run: Runner | None = None
) -> Answer:
    """The answer to a question, from whatever there is or can be had in a second. `run`: calls a function that reads
    files, as `run(function, *arguments)`; None: directly. Raises IndexingFailed."""
    found, note = await _found(where, store, embedder, query, run or _directly)
    notes = [note] if note else []
    if found.missing and not query.by_words:
        notes.append(await _vectors(where, store.workspace, embedder))
    return replace(found, notes=[*notes, *found.notes])


async def _found(
    where: Connection, store: Store, embedder: Embedder | LightEmbedder, query: Query, run: Runner
) -> tuple[Answer, str]:
    """The answer, and what to say of the words. A lexical index whose damage shows now is made again, once."""
    for is_last in (False, True):
        lexicon, note = await _lexicon(where, store.workspace, embedder, run)
        try:
            found = await find(store, embedder, query, lexicon)
            if lexicon and found.embedded and not query.by_words and (late := behind(lexicon)):
                said = f"{counted(late)} changed since vectors were made, found by words"
                found = replace(found, notes=[f"{said}: embedserve index {store.workspace}", *found.notes])
            return found, note
        except sqlite3.DatabaseError as error:
            assert lexicon
            if is_last or not is_damage(error):
                raise IndexingFailed(f"the lexical index {lexicon.path} cannot be read: {error}") from None
            drop_lexicon(lexicon.path)
        finally:
            if lexicon:
                lexicon.close()
    raise AssertionError


async def workspace_of(where: Connection, store: Store, given: bool) -> str:
    """The folder that is searched: the store's where it was `given`, else the nearest indexed one at or above it, else
    the one to index. Raises IndexingFailed."""
    if given:
        return store.workspace
    try:
        return await where.nearest(store) or workspace_for(store.workspace)
    except IndexingFailed:
        return workspace_for(store.workspace)


async def _lexicon(
    where: Connection, workspace: str, embedder: Embedder | LightEmbedder, run: Runner
) -> tuple[Lexicon | None, str]:
    """The workspace's lexical index, made now where there is none, and with what has changed since; and what to say of
    that."""
    path = where.lexicon_path(workspace)
    if path is None:
        return None, ""
    try:
        if lexicon := open_lexicon(path):
            lexicon.close()
            note = await run(freshen, path, workspace)
            return open_lexicon(path), note
    except IndexingFailed as error:
        return None, f"words were not looked for: {error.message}"
    if not os.path.isdir(workspace):
        return None, ""  # Qdrant may still know it
    note = await run(index_words, path, workspace, await embedder.told_window())
    return open_lexicon(path), note


async def _directly(function: Callable[..., str], *arguments: object) -> str:
    return function(*arguments)


async def _vectors(where: Connection, workspace: str, embedder: Embedder | LightEmbedder) -> str:
    """There are none, and Qdrant answers; does the service?"""
    if await embedder.told_window() is not None:
        return start_vectors(where, workspace)
    return f"to search by meaning too, start the service (embedserve serve), then: embedserve index {workspace}"


def workspace_for(folder: str) -> str:
    """The folder to index where somebody searches in `folder`: the repository's top, else the folder itself. Raises
    IndexingFailed for one that nobody means."""
    top = folder
    while not os.path.exists(os.path.join(top, ".git")):
        if os.path.dirname(top) == top:
            top = folder
            break
        top = os.path.dirname(top)
    for place in {top, folder}:
        if os.path.dirname(place) == place or os.path.realpath(place) == os.path.realpath(os.path.expanduser("~")):
            raise IndexingFailed(
                f"{place} was never indexed, and is too much to index unasked; give a folder with --workspace, or "
                f"index it first: embedserve index {place}"
            )
    return top


def index_words(path: str, workspace: str, window: int | None) -> str:
    """Make the lexical index `path` of a workspace; what was done, for who asked. `window`: of the model, None where it
    is not known. Raises IndexingFailed."""
    from embedserve.indexing.lexical_sync import LexicalTask, fitted
    from embedserve.indexing.walk import Walk, walk

    def walked(only: set[str] | None) -> Walk:
        return walk(workspace, only)

    began = time.monotonic()
    task = LexicalTask(path, workspace, walked, None if window is None else fitted(window))
    done = task.run(walked(None))
    seconds = time.monotonic() - began
    read = f"the words of {done.changed} files were indexed now ({done.chunks} chunks, {seconds:.1f} s)"
    return f"{workspace}: {read}"


def start_vectors(where: Connection, workspace: str) -> str:
    """Start `embedserve index` behind, unless it runs already; what to tell who asked."""
    import subprocess

    beside = (where.lexicon_path(workspace) or "").removesuffix(".sqlite")
    if _is_running(beside + ".pid"):
        return "vectors are being made in the background"
    command = [sys.executable, "-m", "embedserve.cli", "index", workspace]
    command += ["--embeddings-url", where.embeddings_url, "--qdrant-url", where.qdrant_url]
    command += ["--model", where.model] if where.model else []
    keys = {"EMBEDDING_API_KEY": where.api_key, "QDRANT_API_KEY": where.qdrant_api_key}  # not for `ps` to see
    environment = {**os.environ, **{name: key for name, key in keys.items() if key}}
    with open(beside + ".log", "w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    with open(beside + ".pid", "w") as file:
        file.write(str(process.pid))
    return f"vectors are being made in the background (log: {beside}.log)"


def _is_running(path: str) -> bool:
    try:
        if time.time() - os.path.getmtime(path) > STALE_SECONDS:
            return False
        with open(path) as file:
            number = int(file.read())
        with contextlib.suppress(ChildProcessError, AttributeError):
            os.waitpid(number, os.WNOHANG)  # one of our own that has ended
        os.kill(number, 0)
    except (OSError, ValueError):
        return False
    return True
