"""The collection of one workspace: a name, a schema and a marker of our own, that no other client reads or writes.

One writer a collection: Roo Code, Zoo Code and Kilo Code keep theirs under `ws-…`, with chunks of their own, and empty
it when they meet what they did not write. Ours is `embedserve-…`. What is shared with them is the embedding cache of
the service, keyed by content.

A point is a chunk (`Chunk.payload`): type "chunk", path, paths (every folder above and the path: a path filter is one
match on it), language, start_line, end_line, text, kind, defines, scope, definition, signature, digest. The first
chunk of a file, written when all others are stored, carries the file's record: `record: "file"` and `file: {digest,
chunks}`; so what is stored of a file is known to be whole, and an unchanged tree is told by one point a file. The
marker is a point with a zero vector, type "index", that names the workspace and the recipe.

Nothing is deleted but what we wrote: points are deleted by id or by path with type "chunk", and a collection of
our name that has points but not our marker is refused.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from embedserve.indexing.rest import Refused, collection_path
from embedserve.indexing.stored import (
    MARKER_ID,
    FileRecord,
    Point,
    Recipe,
    Status,
    Stored,
    check_fit,
    check_ours,
    match,
    nearest_body,
    status_of,
)
from embedserve.indexing.workspace import OWN_PREFIX, collection_name, shown_path

if TYPE_CHECKING:
    from embedserve.indexing.qdrant import Qdrant
    from embedserve.indexing.rest import LightQdrant

INDEXED_FIELDS = ("type", "record", "path", "paths", "language")
PAGE = 1000
PATHS_AT_ONCE = 100


class Store:
    """One workspace's collection."""

    def __init__(self, qdrant: Qdrant | LightQdrant, workspace: str) -> None:
        self.qdrant = qdrant
        self.workspace = workspace
        self.collection = collection_name(workspace)

    def to(self, workspace: str) -> None:
        """Go on with another workspace of the same Qdrant."""
        self.workspace, self.collection = workspace, collection_name(workspace)

    @property
    def title(self) -> str:
        """What is indexed, for messages."""
        return self.workspace

    async def status(self) -> Status | None:
        """None: there is no such collection."""
        try:
            info = await self.qdrant.call("GET", self._path())
        except Refused as error:
            if error.status == 404:
                return None
            raise
        found = await self.qdrant.call("POST", self._path("/points"), {"ids": [MARKER_ID], "with_payload": True})
        points = max(0, (info.get("points_count") or 0) - len(found))
        return status_of(self.collection, info, points, found[0]["payload"] or {} if found else {})

    async def prepare(self, recipe: Recipe) -> Status:
        """Make the collection, or check that it fits; nothing is written to one that does not."""
        status = await self.status()
        if status is None:
            await self._create(recipe.dimension)
            status = Status(self.collection, 0, recipe.dimension, None, None, None)
        else:
            self.check_fit(status, recipe.dimension, recipe.model)
        for name in INDEXED_FIELDS:
            if name not in status.indexed_fields:
                body = {"field_name": name, "field_schema": "keyword"}
                await self.qdrant.write("PUT", self._path("/index?wait=true"), body)
        return status

    def check_fit(self, status: Status, dimension: int, model: str) -> None:
        """Raises IndexingFailed when vectors of this model do not belong into this index."""
        check_fit(status, dimension, model, self.workspace)

    def no_index(self) -> str:
        """What to say where Qdrant answers, and has no such index."""
        return (
            f"{self.workspace} has no index in Qdrant at {self.qdrant.url}; "
            f"make it with: embedserve index {self.workspace}"
        )

    async def records(self, under: Sequence[str] | None = None) -> dict[str, FileRecord | None]:
        """Path -> record of every file that is stored as a whole; None where two runs left two records.
        `under`: only these files, and those below these folders."""
        found: dict[str, FileRecord | None] = {}
        must = [match("record", "file")]
        if under is not None:
            must.append({"key": "paths", "match": {"any": list(under)}})
        async for payload in self._scroll(must, ["path", "file"]):
            path, record = str(payload["path"]), payload.get("file") or {}
            known = FileRecord(str(record.get("digest")), int(record.get("chunks") or 0))
            found[path] = None if path in found else known
        return found

    async def paths(self) -> dict[str, int]:
        """Path -> number of points of every file that has any, whole or not: what an interrupted run left."""
        found: dict[str, int] = {}
        async for payload in self._scroll([match("type", "chunk")], ["path"]):
            path = str(payload["path"])
            found[path] = found.get(path, 0) + 1
        return found

    async def stored(self, paths: Sequence[str]) -> dict[str, Stored]:
        """Everything that is stored of these files."""
        found = {path: Stored() for path in paths}
        if paths:
            must = [{"key": "path", "match": {"any": list(paths)}}, match("type", "chunk")]
            async for payload in self._scroll(must, True):
                found[payload["path"]].points[payload.pop("_id")] = payload
        return found

    async def vectors(self, ids: Sequence[str]) -> dict[str, list[float]]:
        """The stored vectors of points; those that are not there are left out."""
        body = {"ids": [self._own(point) for point in ids], "with_payload": False, "with_vector": True}
        found = await self.qdrant.call("POST", self._path("/points"), body)
        return {self._own(str(point["id"])): point["vector"] for point in found}

    async def known(self, digests: Sequence[str]) -> dict[str, list[float]]:
        """Digest of an embedded text -> its vector, of those that another index here may give away: none."""
        return {}

    async def vectors_of(self, paths: Sequence[str]) -> dict[str, dict[str, list[float]]]:
        """Path -> digest of the embedded text -> its vector, of all chunks of these files."""
        found: dict[str, dict[str, list[float]]] = {path: {} for path in paths}
        must = [{"key": "path", "match": {"any": list(paths)}}, match("type", "chunk")]
        async for payload in self._scroll(must, ["path", "digest"], vectors=True):
            found[payload["path"]][str(payload["digest"])] = payload["_vector"]
        return found

    async def upsert(self, points: Sequence[Point]) -> None:
        """Store chunks with their vectors, and return when they are safe."""
        if points:
            await self.put([point.body() for point in points])

    async def pages(self, size: int) -> AsyncIterator[list[dict[str, Any]]]:
        """All chunks as {"id", "vector", "payload"}, `size` at a time."""
        page: list[dict[str, Any]] = []
        async for payload in self._scroll([match("type", "chunk")], True, vectors=True):
            page.append({"id": payload.pop("_id"), "vector": payload.pop("_vector"), "payload": payload})
            if len(page) == size:
                yield page
                page = []
        if page:
            yield page

    async def ids(self) -> set[str]:
        """The ids of all chunks."""
        return {payload["_id"] async for payload in self._scroll([match("type", "chunk")], ["path"])}

    async def put(self, points: Sequence[dict[str, Any]]) -> None:
        """Store points as `pages` gives them."""
        body = {"points": [self._written(point) for point in points], **self._routing}
        await self.qdrant.write("PUT", self._path("/points?wait=true"), body)

    async def delete(self, ids: Iterable[str]) -> None:
        rest = [self._own(point) for point in ids]
        for start in range(0, len(rest), PAGE):
            body = {"points": rest[start : start + PAGE], **self._routing}
            await self.qdrant.write("POST", self._path("/points/delete?wait=true"), body)

    async def delete_files(self, paths: Iterable[str]) -> None:
        """Delete all chunks of these files."""
        rest = list(paths)
        for start in range(0, len(rest), PATHS_AT_ONCE):
            chosen = {"key": "path", "match": {"any": rest[start : start + PATHS_AT_ONCE]}}
            body = {"filter": {"must": [chosen, match("type", "chunk"), *self._within]}, **self._routing}
            await self.qdrant.write("POST", self._path("/points/delete?wait=true"), body)

    async def mark(self, complete: bool, recipe: Recipe, files: int = 0, chunks: int = 0) -> None:
        """Write the marker point."""
        payload = {
            "type": "index",
            "workspace": shown_path(self.workspace),
            "recipe": asdict(recipe),
            "complete": complete,
            "updated_at": round(time.time(), 3),
            "files": files,
            "chunks": chunks,
        }
        point = self._written({"id": MARKER_ID, "vector": [0.0] * recipe.dimension, "payload": payload})
        await self.qdrant.write("PUT", self._path("/points?wait=true"), {"points": [point], **self._routing})

    async def query(
        self, vector: Sequence[float], limit: int, min_score: float | None, path: str = "", language: str | None = None
    ) -> list[dict[str, Any]]:
        """The nearest chunks, best first: [{"id", "score", "payload"}]. `path`: a file or a folder."""
        body = self._asked(nearest_body(vector, limit, min_score, path, language))
        answer = await self.qdrant.call("POST", self._path("/points/query"), body)
        return [self._read(point) for point in answer["points"]]

    async def nearest(
        self,
        vector: Sequence[float],
        limit: int,
        min_score: float | None,
        path: str = "",
        language: str | None = None,
        known: Sequence[str] = (),
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """As `query`, and in the same round trip the cosines of the points `known`, of those that are stored."""
        if not known:
            return await self.query(vector, limit, min_score, path, language), {}
        first = self._asked(nearest_body(vector, limit, min_score, path, language))
        theirs = {
            **nearest_body(vector, len(known), min_score),
            "filter": {"must": [{"has_id": [self._own(point) for point in known]}]},
            "params": {"exact": True},
            "with_payload": False,
        }
        body = {"searches": [first, theirs]}
        nearest, scored = await self.qdrant.call("POST", self._path("/points/query/batch"), body)
        scores = {self._own(str(point["id"])): float(point["score"]) for point in scored["points"]}
        return [self._read(point) for point in nearest["points"]], scores

    async def defining(
        self, names: Sequence[str], limit: int, path: str = "", language: str | None = None
    ) -> list[dict[str, Any]]:
        """Chunks that define one of these names, where the store has an index of them: none here, as the lexical index
        beside it has."""
        return []

    async def with_text(self, text: str, most: int) -> AsyncIterator[dict[str, Any]]:
        """The payloads of up to `most` chunks whose text has `text`, or (where the store has a text index) its words:
        the caller looks again."""
        must = [match("type", "chunk"), {"key": "text", "match": {"text": text}}]
        async for payload in self._scroll(must, True):
            yield payload
            most -= 1
            if most == 0:
                return

    async def drop(self) -> bool:
        """Delete the index; False: there was none. Raises IndexingFailed for a collection that is not ours."""
        status = await self.status()
        if status is None:
            return False
        check_ours(status)
        await self.qdrant.write("DELETE", self._path())
        return True

    async def indexed_workspaces(self) -> set[str]:
        """The folders that have an index of ours in this Qdrant."""
        found = set()
        for name in await self.collections():
            if name.startswith(OWN_PREFIX):
                body = {"ids": [MARKER_ID], "with_payload": True}
                for point in await self.qdrant.call("POST", collection_path(name, "/points"), body):
                    found.add(str((point["payload"] or {}).get("workspace")))
        return found

    async def collections(self) -> set[str]:
        return {item["name"] for item in (await self.qdrant.call("GET", "/collections"))["collections"]}

    # --- where several indexes share a collection, another class says these (`shared.py`) ---------------

    _within: Sequence[dict[str, Any]] = ()  # conditions on every point of this index
    _routing: Mapping[str, Any] = MappingProxyType({})  # fields of a body that say where the index is kept

    def _own(self, point: str) -> str:
        """A chunk's id -> its point's, and back."""
        return point

    def _written(self, point: dict[str, Any]) -> dict[str, Any]:
        """A point as it is stored."""
        return point

    def _read(self, point: dict[str, Any]) -> dict[str, Any]:
        """A stored point as it is shown."""
        return point

    def _asked(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body of a search."""
        return body

    def _path(self, rest: str = "") -> str:
        return collection_path(self.collection, rest)

    async def _create(self, dimension: int) -> None:
        body = {
            "vectors": {"size": dimension, "distance": "Cosine", "on_disk": True},
            "hnsw_config": {"m": 64, "ef_construct": 512, "on_disk": True},
        }
        try:
            await self.qdrant.write("PUT", self._path(), body)
        except Refused as error:
            if error.status != 409:  # another indexer was faster
                raise

    async def _scroll(self, must: list[dict[str, Any]], fields: Any, vectors: bool = False) -> Any:
        """The payloads of all points that match, each with its id as `_id`, and its vector as `_vector`."""
        body = {
            "filter": {"must": [*must, *self._within]},
            "limit": PAGE,
            "with_payload": fields,
            "with_vector": vectors,
            **self._routing,
        }
        offset = None
        while True:
            page = await self.qdrant.call("POST", self._path("/points/scroll"), {**body, "offset": offset})
            for point in page["points"]:
                if isinstance((point["payload"] or {}).get("path"), str):
                    vector = {"_vector": point["vector"]} if vectors else {}
                    shown = self._read(point)
                    yield {**shown["payload"], "_id": str(shown["id"]), **vector}
            offset = page.get("next_page_offset")
            if offset is None:
                return
