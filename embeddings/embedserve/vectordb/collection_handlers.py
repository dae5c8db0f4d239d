"""Handlers about collections as a whole: make, show, change, delete; payload indexes; aliases; the cluster of one."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from embedserve.vectordb.body import Fields, expect
from embedserve.vectordb.call import Call
from embedserve.vectordb.errors import ApiError, format_error
from embedserve.vectordb.field_conditions import key_path
from embedserve.vectordb.named_vectors import with_vector, without_vector
from embedserve.vectordb.payload_indexes import parse_index
from embedserve.vectordb.schema import parse_collection, patch_collection
from embedserve.vectordb.storage import Storage

_FORBIDDEN_IN_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


async def list_collections(storage: Storage, _call: Call, _body: Any) -> Any:
    return {"collections": [{"name": name} for name in storage.names()]}


async def collection_exists(storage: Storage, call: Call, _body: Any) -> Any:
    return {"exists": storage.exists(call.name)}


async def get_collection(storage: Storage, call: Call, _body: Any) -> Any:
    collection = storage.get(call.name)
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


async def create_collection(storage: Storage, call: Call, body: Any) -> Any:
    check_name(call.name)
    await storage.create(call.name, parse_collection(body))
    return True


def check_name(name: str) -> None:
    if not name or len(name) > 255 or _FORBIDDEN_IN_NAME.search(name):
        raise ApiError(
            422, "Validation error in path parameters: [name: empty, too long or with a forbidden character]"
        )


async def update_collection(storage: Storage, call: Call, body: Any) -> Any:
    await storage.get(call.name).reconfigure(partial(patch_collection, body=body))
    return True


async def create_vector(storage: Storage, call: Call, body: Any) -> Any:
    """Idempotent. Points that are there already have no such vector until they are written again."""
    return await _change_vectors(storage, call, partial(with_vector, name=call.params["vector"], body=body))


async def delete_vector(storage: Storage, call: Call, _body: Any) -> Any:
    """Idempotent, as Qdrant's."""
    return await _change_vectors(storage, call, partial(without_vector, name=call.params["vector"]))


async def _change_vectors(storage: Storage, call: Call, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A request that is refused, or that changes nothing, ends no index build."""
    collection = storage.get(call.name)
    if change(collection.config) == collection.config:
        return call.updated(collection.operations)
    await storage.stop_build(call.name)
    return call.updated(await collection.change_vectors(change))


async def delete_collection(storage: Storage, call: Call, _body: Any) -> Any:
    return await storage.delete(call.name)


async def create_index(storage: Storage, call: Call, body: Any) -> Any:
    collection = storage.get(call.name)
    fields = Fields(body, "body")
    field = key_path(fields.need("field_name", str), "field_name")
    shown, native = parse_index(fields.take("field_schema") or fields.need("field_type"))
    fields.take("field_type")
    fields.done()
    return call.updated(await collection.create_index(field, shown, native))


async def delete_index(storage: Storage, call: Call, _body: Any) -> Any:
    field = key_path(call.params["field"], "the field in the address")
    return call.updated(await storage.get(call.name).delete_index(field))


async def list_aliases(storage: Storage, _call: Call, _body: Any) -> Any:
    return {"aliases": _shown(storage.aliases.all())}


async def collection_aliases(storage: Storage, call: Call, _body: Any) -> Any:
    own = storage.get(call.name).name
    return {"aliases": _shown({alias: name for alias, name in storage.aliases.all().items() if name == own})}


def _shown(aliases: dict[str, str]) -> list[dict[str, str]]:
    return [{"alias_name": alias, "collection_name": name} for alias, name in sorted(aliases.items())]


async def change_aliases(storage: Storage, _call: Call, body: Any) -> Any:
    """All of the actions or none."""
    fields = Fields(body, "body")
    actions = fields.need("actions", list)
    fields.done()
    new = storage.aliases.all()
    for i, action in enumerate(actions):
        if len(expect(action, dict, f"actions[{i}]")) != 1:
            raise format_error(f"actions[{i}]: expected one action")
        ((kind, content),) = action.items()
        _alias(storage, new, str(kind), Fields(content, f"actions[{i}].{str(kind)[:50]}"))
    await storage.aliases.replace(new)
    return True


def _alias(storage: Storage, aliases: dict[str, str], kind: str, fields: Fields) -> None:
    if kind == "create_alias":
        name, alias = fields.need("collection_name", str), fields.need("alias_name", str)
        check_name(alias)
        if name not in storage.names():
            storage.get(name)  # 404
            name = aliases.get(name, name)
        if alias in storage.names():
            raise ApiError(409, f"Wrong input: Collection `{alias}` already exists!")
        aliases[alias] = name
    elif kind == "delete_alias":
        aliases.pop(fields.need("alias_name", str), None)
    elif kind == "rename_alias":
        old, new = fields.need("old_alias_name", str), fields.need("new_alias_name", str)
        check_name(new)
        if old not in aliases:
            raise ApiError(404, f"Not found: Alias {old} does not exists!")
        aliases[new] = aliases.pop(old)
    else:
        raise format_error(f"{fields.where}: unknown action, expected create_alias, delete_alias or rename_alias")
    fields.done()


async def cluster(_storage: Storage, _call: Call, _body: Any) -> Any:
    """AnythingLLM asks before every operation."""
    return {"status": "disabled"}
