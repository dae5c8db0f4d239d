"""Handlers that search: query, its batch and groups, and the older search, recommend and discover in terms of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields
from embedserve.vectordb.call import Call
from embedserve.vectordb.collection import Collection
from embedserve.vectordb.errors import format_error, no_point, wrong_input
from embedserve.vectordb.groups import Groups, parse_groups
from embedserve.vectordb.queries import Query, Vectors, parse_query
from embedserve.vectordb.storage import Storage

Hits = list[dict[str, Any]]
Translate = Callable[[Any, str], Any]


async def find_vectors(storage: Storage, collection: Collection, queries: list[Query]) -> Vectors:
    """The vectors of all points that the queries name. ApiError 404 for one that is not there."""
    wanted: dict[tuple[str, str], set[Any]] = {}
    for example in (example for query in queries for example in query.named()):
        wanted.setdefault((example.source, example.using), set()).add(example.point)
    found: Vectors = {}
    for (source, using), ids in wanted.items():
        of = storage.get(source) if source else collection
        of.space.check_name(using)
        records = await of.read(partial(_with_vectors, ids=[*ids], using=using))
        vectors = {str(record.id): _one(record.vector, using) for record in records}
        for point_id in ids:
            if str(point_id) not in vectors:
                raise no_point(point_id)
            if vectors[str(point_id)] is None:
                raise wrong_input(f"Vector with name `{using}` not found for point {point_id}")
            found[source, using, point_id] = vectors[str(point_id)]
    return found


def _with_vectors(shard: edge.EdgeShard, ids: list[Any], using: str) -> list[edge.Record]:
    return shard.retrieve(ids, False, [using])


def _one(vector: Any, name: str) -> Any:
    return vector.get(name) if isinstance(vector, dict) else vector


async def _run(storage: Storage, call: Call, bodies: list[Any], where: list[str]) -> list[Hits]:
    collection = storage.get(call.name)
    queries = [parse_query(body, collection.space, at) for body, at in zip(bodies, where, strict=True)]
    vectors = await find_vectors(storage, collection, queries)
    return await collection.read(lambda shard: [query.read(shard, vectors) for query in queries])


def _searches(body: Any) -> tuple[list[Any], list[str]]:
    fields = Fields(body, "body")
    searches = fields.need("searches", list)
    fields.done()
    return searches, [f"searches[{i}]" for i in range(len(searches))]


async def query(storage: Storage, call: Call, body: Any) -> Any:
    return {"points": (await _run(storage, call, [body], ["body"]))[0]}


async def query_batch(storage: Storage, call: Call, body: Any) -> Any:
    return [{"points": hits} for hits in await _run(storage, call, *_searches(body))]


async def query_groups(storage: Storage, call: Call, body: Any) -> Any:
    collection = storage.get(call.name)
    groups = parse_groups(body, collection.space, parse_query)
    vectors = await find_vectors(storage, collection, [groups.query])
    found = await collection.read(lambda shard: groups.read(shard, vectors))
    return {"groups": await _with_lookup(storage, groups, found)}


async def _with_lookup(storage: Storage, groups: Groups, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if groups.lookup is None:
        return found
    other = storage.get(groups.lookup.collection)
    records = await other.read(groups.lookup.of([group["id"] for group in found], other.space).read)
    by_id = {str(record["id"]): record for record in records}
    return [group | {"lookup": by_id[str(group["id"])]} if str(group["id"]) in by_id else group for group in found]


def search_as_query(body: Any, where: str) -> Any:
    """{"vector": [..] or {"name", "vector"}, ..} -> {"query": [..], "using": name, ..}."""
    fields = Fields(body, where)
    rest = dict(body)
    vector = fields.need("vector")
    if isinstance(vector, dict):
        inner = Fields(vector, f"{where}.vector")
        rest["using"], vector = inner.take("name", str, ""), inner.need("vector")
        inner.done()
    if body.get("limit") is None and "group_by" not in body:
        raise format_error(f"{where}: missing field `limit`")
    del rest["vector"]
    return rest | {"query": vector}


def recommend_as_query(body: Any, where: str) -> Any:
    """{"positive", "negative", "strategy", ..} -> {"query": {"recommend": {..}}, ..}."""
    parts = ("positive", "negative", "strategy")
    Fields(body, where)
    if body.get("limit") is None:
        raise format_error(f"{where}: missing field `limit`")
    rest = {key: value for key, value in body.items() if key not in parts}
    return rest | {"query": {"recommend": {key: body[key] for key in parts if body.get(key) is not None}}}


def discover_as_query(body: Any, where: str) -> Any:
    Fields(body, where)
    rest = {key: value for key, value in body.items() if key not in ("target", "context")}
    if body.get("limit") is None:
        raise format_error(f"{where}: missing field `limit`")
    context = body.get("context") or []
    if body.get("target") is None:
        return rest | {"query": {"context": context}}
    return rest | {"query": {"discover": {"target": body["target"], "context": context}}}


def older(translate: Translate) -> Callable[[Storage, Call, Any], Any]:
    """A single older request, answered with the bare list."""

    async def handler(storage: Storage, call: Call, body: Any) -> Any:
        storage.get(call.name)
        return (await _run(storage, call, [translate(body, "body")], ["body"]))[0]

    return handler


def older_batch(translate: Translate) -> Callable[[Storage, Call, Any], Any]:
    async def handler(storage: Storage, call: Call, body: Any) -> Any:
        storage.get(call.name)
        searches, where = _searches(body)
        return await _run(storage, call, [translate(s, at) for s, at in zip(searches, where, strict=True)], where)

    return handler


def older_groups(translate: Translate) -> Callable[[Storage, Call, Any], Any]:
    async def handler(storage: Storage, call: Call, body: Any) -> Any:
        storage.get(call.name)
        return await query_groups(storage, call, translate(body, "body"))

    return handler
