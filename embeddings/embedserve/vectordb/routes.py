"""The endpoints: a handler for each of Qdrant's routes that are served, and a table of those that are not.

A handler gets the storage, the request and the decoded body, and returns the `result` or raises ApiError.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request

from embedserve.vectordb import points
from embedserve.vectordb.body import Fields
from embedserve.vectordb.errors import ApiError
from embedserve.vectordb.schema import parse_collection, parse_index
from embedserve.vectordb.storage import Storage

Handler = Callable[[Storage, Request, Any], Awaitable[Any]]

_FORBIDDEN_IN_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
NOT_SERVED = [
    (re.compile(pattern), feature)
    for pattern, feature in {
        r"/(telemetry|metrics|cluster.*|issues|locks|quotas|audit.*)": "service administration",
        r"/(aliases|collections/aliases|collections/[^/]+/aliases)": "aliases",
        r"(/collections/[^/]+)?(/shards/[^/]+)?/snapshots?(/.*)?": "snapshots",
        r"/collections/[^/]+": "change of a collection's settings",
        r"/collections/[^/]+/(cluster|shards|optimizations|vectors)(/.*)?": "cluster and shard administration",
        r"/collections/[^/]+/points/(payload|payload/.*)": "change of payloads alone; upsert the points",
        r"/collections/[^/]+/points/(vectors|vectors/.*)": "change of vectors alone; upsert the points",
        r"/collections/[^/]+/points/batch": "mixed batches of updates",
        r"/collections/[^/]+/points/(recommend|discover)(/.*)?": "recommendation and discovery",
        r"/collections/[^/]+/points/(query|search|recommend)/groups": "grouping",
        r"/collections/[^/]+/points/search/matrix/.*": "distance matrices",
        r"/collections/[^/]+/facet": "facets",
    }.items()
]


def _name(request: Request) -> str:
    return str(request.path_params["name"])


def _updated(request: Request, operation: int) -> dict[str, Any]:
    """Every write is applied before the answer; a client that does not wait is told what Qdrant would tell it."""
    waited = request.query_params.get("wait") == "true"
    return {"operation_id": operation, "status": "completed" if waited else "acknowledged"}


async def list_collections(storage: Storage, _request: Request, _body: Any) -> Any:
    return {"collections": [{"name": name} for name in storage.names()]}


async def collection_exists(storage: Storage, request: Request, _body: Any) -> Any:
    return {"exists": _name(request) in storage.names()}


async def get_collection(storage: Storage, request: Request, _body: Any) -> Any:
    collection = storage.get(_name(request))
    info = await collection.read(lambda shard: shard.info())
    error = collection.build_error
    schema = {
        field: collection.indexes[field] | {"points": index.points}
        for field, index in info.payload_schema.items()
        if field in collection.indexes
    }
    return {
        "status": "red" if error else "yellow" if collection.building else "green",
        "optimizer_status": {"error": error} if error else "ok",
        "indexed_vectors_count": info.indexed_vectors_count,
        "points_count": info.points_count,
        "segments_count": info.segments_count,
        "config": collection.config,
        "payload_schema": schema,
    }


async def create_collection(storage: Storage, request: Request, body: Any) -> Any:
    name = _name(request)
    if len(name) > 255 or _FORBIDDEN_IN_NAME.search(name):
        raise ApiError(422, "Validation error in path parameters: [name: too long or with a forbidden character]")
    await storage.create(name, parse_collection(body))
    return True


async def delete_collection(storage: Storage, request: Request, _body: Any) -> Any:
    return await storage.delete(_name(request))


async def create_index(storage: Storage, request: Request, body: Any) -> Any:
    collection = storage.get(_name(request))
    fields = Fields(body, "body")
    field = fields.need("field_name", str)
    shown, native = parse_index(fields.need("field_schema"))
    fields.done()
    return _updated(request, await collection.create_index(field, shown, native))


async def delete_index(storage: Storage, request: Request, _body: Any) -> Any:
    operation = await storage.get(_name(request)).delete_index(request.path_params["field"])
    return _updated(request, operation)


async def upsert(storage: Storage, request: Request, body: Any) -> Any:
    collection = storage.get(_name(request))
    parsed = await asyncio.to_thread(points.parse_upsert, body, collection.size)
    return _updated(request, await collection.upsert(parsed))


async def delete_points(storage: Storage, request: Request, body: Any) -> Any:
    collection = storage.get(_name(request))
    return _updated(request, await collection.delete(points.parse_selector(body)))


async def get_points(storage: Storage, request: Request, body: Any) -> Any:
    collection = storage.get(_name(request))
    wanted = points.parse_lookup(body)
    return await collection.read(lambda shard: _retrieve(shard, wanted))


async def get_point(storage: Storage, request: Request, _body: Any) -> Any:
    collection = storage.get(_name(request))
    text = request.path_params["id"]
    wanted = points.Lookup([points.parse_id(int(text) if text.isdecimal() else text)], True, True)
    found = await collection.read(lambda shard: _retrieve(shard, wanted))
    if not found:
        raise ApiError(404, f"Not found: Point with id {wanted.ids[0]} does not exists!")
    return found[0]


def _retrieve(shard: Any, wanted: points.Lookup) -> list[dict[str, Any]]:
    return [points.record_json(r) for r in shard.retrieve(wanted.ids, wanted.with_payload, wanted.with_vector)]


async def scroll(storage: Storage, request: Request, body: Any) -> Any:
    collection = storage.get(_name(request))
    wanted = points.parse_scroll(body)

    def read(shard: Any) -> Any:
        records, offset = shard.scroll(wanted)
        return {"points": [points.record_json(record) for record in records], "next_page_offset": offset}

    return await collection.read(read)


async def count(storage: Storage, request: Request, body: Any) -> Any:
    collection = storage.get(_name(request))
    wanted = points.parse_count(body)
    return {"count": await collection.read(lambda shard: shard.count(wanted))}


async def query(storage: Storage, request: Request, body: Any) -> Any:
    collection = storage.get(_name(request))
    wanted = points.parse_query(body, collection.size)
    return {"points": await collection.read(lambda shard: _search(shard, wanted))}


async def query_batch(storage: Storage, request: Request, body: Any) -> Any:
    collection = storage.get(_name(request))
    searches = _searches(body, points.parse_query, collection.size)
    return await collection.read(lambda shard: [{"points": _search(shard, wanted)} for wanted in searches])


async def search(storage: Storage, request: Request, body: Any) -> Any:
    collection = storage.get(_name(request))
    wanted = points.parse_search(body, collection.size)
    return await collection.read(lambda shard: _search(shard, wanted))


async def search_batch(storage: Storage, request: Request, body: Any) -> Any:
    collection = storage.get(_name(request))
    searches = _searches(body, points.parse_search, collection.size)
    return await collection.read(lambda shard: [_search(shard, wanted) for wanted in searches])


def _searches(body: Any, parse: Callable[[Any, int, str], points.Search], size: int) -> list[points.Search]:
    fields = Fields(body, "body")
    searches = fields.need("searches", list)
    fields.done()
    return [parse(item, size, f"searches[{i}]") for i, item in enumerate(searches)]


def _search(shard: Any, wanted: points.Search) -> list[dict[str, Any]]:
    vector = None
    if wanted.like is not None:
        found = shard.retrieve([wanted.like], False, True)
        if not found:
            raise ApiError(404, f"Not found: No point with id {wanted.like} found")
        vector = found[0].vector
    return [points.scored_json(point) for point in shard.query(wanted.request(vector))]


def is_write(method: str, path: str) -> bool:
    """Whether a body sent there changes something; the two kinds have body slots of their own."""
    return method != "POST" or path not in READS


_COLLECTION = "/collections/{name}"
_POINTS = _COLLECTION + "/points"
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/collections", list_collections),
    ("GET", _COLLECTION + "/exists", collection_exists),
    ("GET", _COLLECTION, get_collection),
    ("PUT", _COLLECTION, create_collection),
    ("DELETE", _COLLECTION, delete_collection),
    ("PUT", _COLLECTION + "/index", create_index),
    ("DELETE", _COLLECTION + "/index/{field}", delete_index),
    ("PUT", _POINTS, upsert),
    ("POST", _POINTS, get_points),
    ("POST", _POINTS + "/delete", delete_points),
    ("POST", _POINTS + "/scroll", scroll),
    ("POST", _POINTS + "/count", count),
    ("POST", _POINTS + "/query", query),
    ("POST", _POINTS + "/query/batch", query_batch),
    ("POST", _POINTS + "/search", search),
    ("POST", _POINTS + "/search/batch", search_batch),
    ("GET", _POINTS + "/{id}", get_point),
]
READS = {
    _POINTS,
    *(f"{_POINTS}/{call}" for call in ("scroll", "count", "query", "query/batch", "search", "search/batch")),
}
