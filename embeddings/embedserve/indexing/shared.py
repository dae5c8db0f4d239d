"""Many repositories in one collection: each an index of its own, kept apart by the payload field `repository`.

The collection is made by `embedserve collections create`; its metadata (`Layout`) says with which model, and in which
shards a repository is kept. A point has the fields of `store.py` and `repository`. Two repositories may have the same
file, so that the id of a chunk is not enough: a point's id is the chunk's with the bits of the repository's name turned
(`_own` is its own inverse). Each repository has its own marker.

A text that any repository of the collection has is not embedded again: its vector is found by the digest of the text
(`known`). Who asks has computed the digest from the text itself, so nothing is had but the vector of a text that the
asker holds. Not known here: the lexical index, which belongs to one folder on one machine.

Who reads may ask one repository, some, or all. Of several, a path is shown as REPOSITORY//PATH.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embedserve.errors import IndexingFailed
from embedserve.indexing.rest import Refused, collection_path
from embedserve.indexing.store import Store
from embedserve.indexing.stored import MARKER_ID, SCHEMA, Recipe, Status, dimension_of, match, status_of

if TYPE_CHECKING:
    from embedserve.indexing.qdrant import Qdrant
    from embedserve.indexing.rest import LightQdrant

FIELD = "repository"
BETWEEN = "//"  # repository and path, where several are shown
METADATA = "embedserve"  # our part of a collection's metadata
OVERSAMPLING = 3.0  # candidates of the quantised vectors, in multiples of the limit, that are scored again
_VERSION_AND_VARIANT = (0xF << 76) | (0x3 << 62)  # bits of a UUID that say what kind it is


@dataclass(frozen=True)
class Layout:
    """How a shared collection was made. `shard_keys`: 0 on a single node. `quantization`: "", "scalar", "binary"."""

    model: str
    dimension: int
    shard_keys: int = 0
    quantization: str = ""

    def shard_key(self, repository: str) -> str:
        """Where a repository's points are: all on one shard, so that a search of one repository asks one node."""
        return f"k{int.from_bytes(hashlib.sha256(repository.encode()).digest()[:8]) % self.shard_keys}"


class SharedStore(Store):
    """One repository (to index or to read it), some, or all (`repositories` empty) of a collection."""

    def __init__(
        self, qdrant: Qdrant | LightQdrant, collection: str, repositories: Sequence[str] = (), workspace: str = ""
    ) -> None:
        super().__init__(qdrant, workspace)
        self.collection = collection
        self.repositories = tuple(dict.fromkeys(repositories))
        self.layout: Layout | None = None
        for repository in self.repositories:
            check_name(repository)
        if self.repositories:
            self._within = [{"key": FIELD, "match": {"any": list(self.repositories)}}]

    @property
    def one(self) -> str:
        """The only repository, "" for several."""
        return self.repositories[0] if len(self.repositories) == 1 else ""

    @property
    def title(self) -> str:
        return f"{', '.join(self.repositories) or 'all repositories'} in the collection {self.collection}"

    def to(self, workspace: str) -> None:
        self.workspace = workspace

    async def open(self) -> Layout:
        """Read how the collection was made; needed before anything else. Raises IndexingFailed."""
        if self.layout is None:
            await self._info()
        assert self.layout is not None
        return self.layout

    async def status(self) -> Status | None:
        """Of one repository, None: it is not there. Of several, of all: points of the whole collection."""
        info = await self._info()
        assert self.layout is not None
        if not self.one:
            told = {"complete": True, "recipe": {"model": self.layout.model}}
            return status_of(self.collection, info, int(info.get("points_count") or 0), told)
        marker = await self.marker()
        if marker is None:
            return None
        counted = {"filter": {"must": [match("type", "chunk"), *self._within]}, "exact": True, **self._routing}
        count = await self.qdrant.call("POST", self._path("/points/count"), counted)
        return status_of(self.collection, info, int(count["count"]), marker)

    async def marker(self) -> dict[str, Any] | None:
        """What the repository's marker says; None: it has none."""
        body = {"ids": [self._own(MARKER_ID)], "with_payload": True}
        found = await self.qdrant.call("POST", self._path("/points"), body)
        return (found[0]["payload"] or {}) if found else None

    async def prepare(self, recipe: Recipe) -> Status:
        await self.open()
        self.check_fit(Status(self.collection, 0, recipe.dimension, None, None, None), recipe.dimension, recipe.model)
        return await super().prepare(recipe)

    def check_fit(self, status: Status, dimension: int, model: str) -> None:
        assert self.layout is not None
        if (self.layout.model, self.layout.dimension) != (model, dimension):
            raise IndexingFailed(
                f"the collection {self.collection} is for vectors of {self.layout.model} "
                f"({self.layout.dimension} dimensions), and the service serves {model} ({dimension}); nothing was "
                "changed. Serve that model, or make another collection: embedserve collections create"
            )
        if status.recipe and status.recipe.schema > SCHEMA:
            raise IndexingFailed(
                f"{self.one} was indexed by a newer embedserve; nothing was changed. Update embedserve"
            )

    def no_index(self) -> str:
        return (
            f"the collection {self.collection} in Qdrant at {self.qdrant.url} has no repository {self.one}; "
            f"index it with: embedserve index --collection {self.collection} --repository {self.one} FOLDER"
        )

    async def known(self, digests: Sequence[str]) -> dict[str, list[float]]:
        """Digest -> the vector that any repository of the collection has of this text."""
        searches = [
            {
                "filter": {"must": [match("digest", digest), match("type", "chunk")]},
                "limit": 1,
                "with_payload": ["digest"],
                "with_vector": True,
            }
            for digest in digests
        ]
        if not searches:
            return {}
        answers = await self.qdrant.call("POST", self._path("/points/query/batch"), {"searches": searches})
        found = [point for answer in answers for point in answer["points"]]
        return {str(point["payload"]["digest"]): point["vector"] for point in found}

    async def defining(
        self, names: Sequence[str], limit: int, path: str = "", language: str | None = None
    ) -> list[dict[str, Any]]:
        """Chunks of any repository that is asked which define one of these names, as points."""
        must = [match("type", "chunk"), {"key": "defines", "match": {"any": list(names)}}]
        must += [match("paths", path)] if path else []
        must += [match("language", language)] if language else []
        body = {"filter": {"must": [*must, *self._within]}, "limit": limit, "with_payload": True, **self._routing}
        found = await self.qdrant.call("POST", self._path("/points/scroll"), body)
        return [self._read(point) for point in found["points"]]

    async def drop(self) -> bool:
        """Delete the repository from the collection; False: it was not there."""
        await self.open()
        if await self.marker() is None:
            return False
        await self.qdrant.write(
            "POST", self._path("/points/delete?wait=true"), {"filter": {"must": [*self._within]}, **self._routing}
        )
        return True

    async def indexed_workspaces(self) -> set[str]:
        """The repositories of the collection."""
        found: set[str] = set()
        body: dict[str, Any] = {"filter": {"must": [match("type", "index")]}, "limit": 1000, "with_payload": [FIELD]}
        offset = None
        while True:
            page = await self.qdrant.call("POST", self._path("/points/scroll"), {**body, "offset": offset})
            found |= {str(point["payload"].get(FIELD)) for point in page["points"]}
            offset = page.get("next_page_offset")
            if offset is None:
                return found

    async def _info(self) -> dict[str, Any]:
        try:
            info: dict[str, Any] = await self.qdrant.call("GET", self._path())
        except Refused as error:
            if error.status != 404:
                raise
            raise IndexingFailed(
                f"Qdrant at {self.qdrant.url} has no collection {self.collection}; make it with: "
                f"embedserve collections create {self.collection} --repositories N --chunks M"
            ) from None
        self.layout = layout_of(info)
        if self.layout is None:
            raise IndexingFailed(
                f"the collection {self.collection} was not made by `embedserve collections create`; it is somebody "
                "else's and was left as it is"
            )
        if self.one and self.layout.shard_keys:
            self._routing = {"shard_key": self.layout.shard_key(self.one)}
        return info

    async def _create(self, dimension: int) -> None:
        """It is there: only the repository is new."""

    def _own(self, point: str) -> str:
        if not self.one:
            return point
        turned = int.from_bytes(hashlib.sha256(self.one.encode()).digest()[:16]) & ~_VERSION_AND_VARIANT
        return str(uuid.UUID(int=uuid.UUID(point).int ^ turned))

    def _written(self, point: dict[str, Any]) -> dict[str, Any]:
        return {**point, "id": self._own(point["id"]), "payload": {**point["payload"], FIELD: self.one}}

    def _read(self, point: dict[str, Any]) -> dict[str, Any]:
        payload = dict(point["payload"] or {})
        repository = str(payload.pop(FIELD, ""))
        if not self.one and "path" in payload:
            payload["path"] = repository + BETWEEN + str(payload["path"])
        return {**point, "id": self._own(str(point["id"])), "payload": payload}

    def _asked(self, body: dict[str, Any]) -> dict[str, Any]:
        params = dict(body.get("params") or {})
        if self.layout and self.layout.quantization:
            params["quantization"] = {"rescore": True, "oversampling": OVERSAMPLING}
        bounds = {"must": [*body["filter"]["must"], *self._within]}
        return {**body, "filter": bounds, "params": params, **self._routing}


def layout_of(info: dict[str, Any]) -> Layout | None:
    """What a collection's metadata says; None: it is not a shared collection of ours."""
    told = ((info.get("config") or {}).get("metadata") or {}).get(METADATA)
    if not isinstance(told, dict) or not told.get("model"):
        return None
    keys, quantization = int(told.get("shard_keys") or 0), str(told.get("quantization") or "")
    return Layout(str(told["model"]), dimension_of(info), keys, quantization)


def check_name(repository: str) -> None:
    """Raises IndexingFailed for what cannot be a repository's name."""
    wrong = not repository or len(repository) > 200 or BETWEEN in repository or not repository.isprintable()
    if wrong or repository != repository.strip("/ "):
        raise IndexingFailed(
            f"{repository[:60]!r} is no name of a repository; give one like psf/requests: up to 200 characters, no //, "
            "no slash at its ends"
        )


def split_path(shown: str) -> tuple[str, str]:
    """("psf/requests", "src/api.py") of psf/requests//src/api.py; the first is "" where it names no repository."""
    repository, between, path = shown.partition(BETWEEN)
    return (repository, path) if between else ("", shown)


async def in_collection(qdrant: Qdrant, name: str) -> bool:
    """Whether there is such a collection."""
    return bool((await qdrant.call("GET", collection_path(name, "/exists")))["exists"])
