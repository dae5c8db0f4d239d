"""Handlers about points: writes, and reads that are no queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from embedserve.vectordb import points, updates
from embedserve.vectordb.call import Call
from embedserve.vectordb.errors import ApiError
from embedserve.vectordb.ids import parse_id
from embedserve.vectordb.storage import Storage
from embedserve.vectordb.threads import Kind, run

Handler = Callable[[Storage, Call, Any], Awaitable[Any]]
Parse = Callable[..., updates.Change]


def _update(parse: Parse) -> Handler:
    async def handler(storage: Storage, call: Call, body: Any) -> Any:
        collection = storage.get(call.name)
        change = await run(Kind.WRITE, partial(parse, body, collection.space))
        return call.updated((await collection.apply([change]))[0])

    return handler


upsert = _update(updates.parse_upsert)
delete_points = _update(updates.parse_delete)
set_payload = _update(updates.parse_set_payload)
overwrite_payload = _update(updates.parse_overwrite_payload)
delete_payload = _update(updates.parse_delete_payload)
clear_payload = _update(updates.parse_clear_payload)
update_vectors = _update(updates.parse_update_vectors)
delete_vectors = _update(updates.parse_delete_vectors)


async def batch_update(storage: Storage, call: Call, body: Any) -> Any:
    collection = storage.get(call.name)
    changes = await run(Kind.WRITE, partial(updates.parse_batch, body, collection.space))
    return [call.updated(number) for number in await collection.apply(changes)]


async def get_points(storage: Storage, call: Call, body: Any) -> Any:
    collection = storage.get(call.name)
    return await collection.read(points.parse_lookup(body, collection.space).read)


async def get_point(storage: Storage, call: Call, _body: Any) -> Any:
    text = call.params["id"]
    wanted = points.Lookup([parse_id(int(text) if text.isdecimal() else text)], True, True)
    found = await storage.get(call.name).read(wanted.read)
    if not found:
        raise ApiError(404, f"Not found: Point with id {wanted.ids[0]} does not exists!")
    return found[0]


async def scroll(storage: Storage, call: Call, body: Any) -> Any:
    collection = storage.get(call.name)
    return await collection.read(points.parse_scroll(body, collection.space).read)


async def count(storage: Storage, call: Call, body: Any) -> Any:
    collection = storage.get(call.name)
    wanted = points.parse_count(body)
    return {"count": await collection.read(lambda shard: shard.count(wanted))}


async def facet(storage: Storage, call: Call, body: Any) -> Any:
    collection = storage.get(call.name)
    wanted = points.parse_facet(body)
    answer = await collection.read(lambda shard: shard.facet(wanted))
    return {"hits": [{"value": hit.value, "count": hit.count} for hit in answer.hits]}
