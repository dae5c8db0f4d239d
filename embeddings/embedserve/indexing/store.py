"""The collection of one workspace in Qdrant: the calls that the clients make, and what an indexer needs besides.

Any Qdrant will do: the server, the embedded one, Cloud. The collection is made as the clients make it, with
their six payload indexes and their marker point (a zero vector whose payload says whether indexing was
completed; ours also names the model, which they ignore). Every error becomes an IndexingFailed that says what to
do; a write that met a broken connection is tried again, since all of them can be repeated.

A `url` without a port means port 6333, as for qdrant-client (in Roo Code and Zoo Code it means 80 or 443).
"""

from __future__ import annotations

import asyncio
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from qdrant_client import AsyncQdrantClient
from qdrant_client import models as q
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from embedserve.errors import IndexingFailed
from embedserve.indexing.chunk import NAMESPACE, Chunk, digest
from embedserve.indexing.embedder import Vectors
from embedserve.indexing.workspace import collection_name, is_this_machine

MARKER_ID = str(uuid.uuid5(NAMESPACE, "__indexing_metadata__"))
NOT_METADATA = q.FieldCondition(key="type", match=q.MatchValue(value="metadata"))
SHOWN = ["filePath", "codeChunk", "startLine", "endLine", "pathSegments"]
INDEXED_SEGMENTS = 5
INDEXED_FIELDS = ("type", *(f"pathSegments.{index}" for index in range(INDEXED_SEGMENTS)))
PAGE = 1000
RETRIES = (0.5, 1.0, 2.0, 4.0)

T = TypeVar("T")
Known = dict[str, dict[str, bytes]]  # path -> id of a point -> digest of its text


@dataclass(frozen=True)
class Status:
    """What is known of a workspace's index. `model` and `complete` are None where no marker says."""

    collection: str
    points: int
    dimension: int
    complete: bool | None
    model: str | None
    updated_at: float | None  # seconds since 1970
    indexed_fields: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Overview:
    """One code collection, whoever made it and of whichever workspace."""

    name: str
    points: int
    dimension: int
    complete: bool | None


def connect(url: str, api_key: str | None = None) -> AsyncQdrantClient:
    """A client that does not warn about what we check ourselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "Api key is used with an insecure connection" on loopback
        return AsyncQdrantClient(
            url=url, api_key=api_key, timeout=60, check_compatibility=False, trust_env=not is_this_machine(url)
        )


class Store:
    """One workspace's collection. `url` is for messages."""

    def __init__(self, client: AsyncQdrantClient, url: str, workspace: str) -> None:
        self.client = client
        self.url = url
        self.workspace = workspace
        self.collection = collection_name(workspace)

    async def status(self) -> Status | None:
        """None: there is no such collection."""
        async with self._errors():
            try:
                info = await self.client.get_collection(self.collection)
            except UnexpectedResponse as error:
                if error.status_code == 404:
                    return None
                raise
            found = await self.client.retrieve(self.collection, [MARKER_ID], with_payload=True)
        marker = (found[0].payload or {}) if found else {}
        complete = marker.get("indexing_complete")
        millis = marker.get("completed_at") or marker.get("started_at")
        return Status(
            collection=self.collection,
            points=max(0, (info.points_count or 0) - len(found)),
            dimension=_dimension(info.config.params.vectors),
            complete=complete if complete is None else bool(complete),
            model=marker.get("embedding_model"),
            updated_at=millis / 1000 if millis else None,
            indexed_fields=frozenset(info.payload_schema or {}),
        )

    async def prepare(self, dimension: int, model: str) -> bool:
        """Make the collection (True), or check that it fits; nothing is written to one that does not."""
        status = await self.status()
        if status is None:
            await self._create(dimension)
        else:
            check_fit(status, dimension, model, self.workspace)
        have = status.indexed_fields if status else frozenset()
        keyword = q.PayloadSchemaType.KEYWORD
        for name in INDEXED_FIELDS:
            if name not in have:
                await self._write(partial(self.client.create_payload_index, self.collection, name, keyword))
        return status is None

    async def known(self) -> Known:
        """Every point that is a chunk of a file, whoever made it."""
        known: Known = {}
        offset: Any = None
        while True:
            async with self._errors():
                points, offset = await self.client.scroll(
                    self.collection,
                    scroll_filter=q.Filter(must_not=[NOT_METADATA]),
                    limit=PAGE,
                    offset=offset,
                    with_payload=["filePath", "codeChunk"],
                )
            for point in points:
                payload = point.payload or {}
                if isinstance(path := payload.get("filePath"), str):
                    known.setdefault(path, {})[str(point.id)] = digest(str(payload.get("codeChunk", "")))
            if offset is None:
                return known

    async def upsert(self, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Store chunks with their vectors, and return when they are safe."""
        rows = zip(chunks, vectors.tolist(), strict=True)
        points = [q.PointStruct(id=chunk.id, vector=row, payload=chunk.payload()) for chunk, row in rows]
        await self._write(partial(self.client.upsert, self.collection, points, wait=True))

    async def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), PAGE):
            selector = q.PointIdsList(points=list(ids[start : start + PAGE]))
            await self._write(partial(self.client.delete, self.collection, selector, wait=True))

    async def mark(self, complete: bool, dimension: int, model: str) -> None:
        """Write the clients' marker point."""
        when = "completed_at" if complete else "started_at"
        payload = {
            "type": "metadata",
            "indexing_complete": complete,
            when: int(time.time() * 1000),
            "embedding_model": model,
        }
        point = q.PointStruct(id=MARKER_ID, vector=[0.0] * dimension, payload=payload)
        await self._write(partial(self.client.upsert, self.collection, [point], wait=True))

    async def query(
        self, vector: list[float], limit: int, min_score: float | None, prefix: Sequence[str]
    ) -> list[q.ScoredPoint]:
        """The clients' query: nearest chunks below the folder `prefix` (its first five parts)."""
        must = [
            q.FieldCondition(key=f"pathSegments.{index}", match=q.MatchValue(value=part))
            for index, part in enumerate(prefix[:INDEXED_SEGMENTS])
        ]
        async with self._errors():
            answer = await self.client.query_points(
                self.collection,
                query=vector,
                query_filter=q.Filter(must=list(must), must_not=[NOT_METADATA]),
                score_threshold=min_score,
                limit=limit,
                search_params=q.SearchParams(hnsw_ef=128, exact=False),
                with_payload=q.PayloadSelectorInclude(include=SHOWN),
            )
        return answer.points

    async def drop(self) -> None:
        await self._write(partial(self.client.delete_collection, self.collection))

    async def collections(self) -> set[str]:
        async with self._errors():
            return {item.name for item in (await self.client.get_collections()).collections}

    async def _create(self, dimension: int) -> None:
        vectors = q.VectorParams(size=dimension, distance=q.Distance.COSINE, on_disk=True)
        hnsw = q.HnswConfigDiff(m=64, ef_construct=512, on_disk=True)
        async with self._errors():
            try:
                await self.client.create_collection(self.collection, vectors_config=vectors, hnsw_config=hnsw)
            except UnexpectedResponse as error:
                if error.status_code != 409:  # another indexer was faster
                    raise

    async def _write(self, call: Callable[[], Awaitable[T]]) -> T:
        """A write that can be repeated, tried again while the connection is broken."""
        for pause in RETRIES:
            try:
                return await call()
            except ResponseHandlingException:
                await asyncio.sleep(pause)
            except ApiException:
                break  # an answer: the next attempt says it again and is reported
        async with self._errors():
            return await call()

    def _errors(self) -> AbstractAsyncContextManager[None]:
        return clear_errors(self.url, self.workspace)


@asynccontextmanager
async def clear_errors(url: str, workspace: str = "") -> AsyncIterator[None]:
    """Whatever Qdrant or the way to it refuses becomes an IndexingFailed that says what to do."""
    try:
        yield
    except UnexpectedResponse as error:
        raise IndexingFailed(_refusal(error, url, workspace)) from None
    except ResponseHandlingException as error:
        raise IndexingFailed(
            f"Qdrant at {url} does not answer ({error.source or error}); start it with "
            "`embedserve qdrant` or `scripts/manage.sh start qdrant`, or see --qdrant-url"
        ) from None
    except ApiException as error:
        raise IndexingFailed(f"Qdrant at {url}: {error}") from None


def check_fit(status: Status, dimension: int, model: str, workspace: str) -> None:
    """Raises IndexingFailed when vectors of this model do not belong into this collection."""
    advice = f"serve the model that the index was made with, or make it anew: embedserve index --recreate {workspace}"
    if status.dimension != dimension:
        raise IndexingFailed(
            f"the collection {status.collection} has vectors of {status.dimension} dimensions, but the model "
            f"{model} gives {dimension}; nothing was changed. Either {advice}"
        )
    if status.model and status.model != model:
        raise IndexingFailed(
            f"the collection {status.collection} was made with the model {status.model}, and vectors of {model} "
            f"cannot be compared with it; nothing was changed. Either {advice}"
        )


def _dimension(vectors: Any) -> int:
    """0: not a collection with one unnamed vector, so not one of ours."""
    return int(getattr(vectors, "size", 0) or 0)


def _refusal(error: UnexpectedResponse, url: str, workspace: str) -> str:
    if error.status_code in (401, 403):
        return f"Qdrant at {url} refuses the API key; give the right one with --qdrant-api-key or QDRANT_API_KEY"
    if error.status_code == 404 and workspace:
        return f"{workspace} has no index in Qdrant at {url}; make it with: embedserve index {workspace}"
    detail = error.content.decode("utf-8", "replace").strip()[:300]
    return f"Qdrant at {url} answered {error.status_code}: {detail}"


async def overview(client: AsyncQdrantClient, url: str) -> tuple[str, list[Overview]]:
    """Qdrant's version and every code collection in it. Raises IndexingFailed."""
    async with clear_errors(url):
        version = str((await client.info()).version)
        names = [item.name for item in (await client.get_collections()).collections]
        found = []
        for name in sorted(name for name in names if name.startswith("ws-")):
            info = await client.get_collection(name)
            marker = await client.retrieve(name, [MARKER_ID], with_payload=True)
            complete = (marker[0].payload or {}).get("indexing_complete") if marker else None
            dimension = _dimension(info.config.params.vectors)
            found.append(Overview(name, (info.points_count or 0) - len(marker), dimension, complete))
    return version, found
