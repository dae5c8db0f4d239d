"""Which gRPC method is which handler of REST: how its body is made of the request and its answer of the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embedserve.vectordb import collection_handlers as collections
from embedserve.vectordb import point_handlers as points
from embedserve.vectordb import query_handlers as queries
from embedserve.vectordb import snapshot_handlers as snapshots
from embedserve.vectordb.errors import wrong_input
from embedserve.vectordb.grpc_api import infos, replies
from embedserve.vectordb.grpc_api.requests import body_of, chosen
from embedserve.vectordb.routes import Handler


@dataclass(frozen=True)
class Method:
    """`params`: what REST has in the path besides the collection, and the request's field for it."""

    handler: Handler
    reply: replies.Reply
    body: Callable[[Any], Any] = body_of
    writes: bool = False
    params: tuple[tuple[str, str], ...] = ()


def _selected(body: dict[str, Any], name: str = "points_selector") -> dict[str, Any]:
    """The points that a change is for, beside its other fields as REST has them."""
    return body | (body.pop(name, None) or {})


def _upsert(request: Any) -> dict[str, Any]:
    return {"points": []} | body_of(request)


def _delete(request: Any) -> dict[str, Any]:
    return _selected(body_of(request), "points")


def _set_payload(request: Any) -> dict[str, Any]:
    return {"payload": {}} | _selected(body_of(request))


def _delete_payload(request: Any) -> dict[str, Any]:
    return {"keys": []} | _selected(body_of(request))


def _delete_vectors(request: Any) -> dict[str, Any]:
    body = _selected(body_of(request))
    return body | {"vector": body.pop("vectors", [])}


_OPERATIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "upsert": ("upsert", _upsert),
    "delete_deprecated": ("delete", body_of),
    "set_payload": ("set_payload", _set_payload),
    "overwrite_payload": ("overwrite_payload", _set_payload),
    "delete_payload": ("delete_payload", _delete_payload),
    "clear_payload_deprecated": ("clear_payload", body_of),
    "update_vectors": ("update_vectors", _upsert),
    "delete_vectors": ("delete_vectors", _delete_vectors),
    "delete_points": ("delete", _delete),
    "clear_payload": ("clear_payload", _delete),
}


def _operations(request: Any) -> dict[str, Any]:
    operations = []
    for item in request.operations:
        name, content = chosen(item, "operation")
        kind, body = _OPERATIONS[name]
        operations.append({kind: body(content)})
    return {"operations": operations}


def _search(request: Any) -> dict[str, Any]:
    """{"vector": [..] or {"name", "vector"}, ..}, of a dense vector or, with `sparse_indices`, a sparse one."""
    body = body_of(request)
    vector: Any = body.pop("vector", [])
    indices = body.pop("sparse_indices", None)
    if indices is not None:
        vector = {"indices": indices.get("data", []), "values": vector}
    name = body.pop("vector_name", "")
    return body | {"vector": {"name": name, "vector": vector} if name or indices is not None else vector}


def _recommend(request: Any) -> dict[str, Any]:
    body = body_of(request)
    for kind in ("positive", "negative"):
        body[kind] = body.get(kind, []) + body.pop(f"{kind}_vectors", [])
    return body


def _batch(field: str, one: Callable[[Any], dict[str, Any]] = body_of) -> Callable[[Any], Any]:
    def body(request: Any) -> dict[str, Any]:
        for item in getattr(request, field):
            if item.collection_name not in ("", request.collection_name):
                raise wrong_input("all queries of a batch must be of its collection")
        return {"searches": [one(item) for item in getattr(request, field)]}

    return body


def _index(request: Any) -> dict[str, Any]:
    body = body_of(request)
    return body if "field_schema" in body or "field_type" in body else body | {"field_type": "keyword"}


def _new_vector(request: Any) -> dict[str, Any]:
    names = {"dense_config": "dense", "sparse_config": "sparse"}
    body = body_of(request)
    return {names[name]: item for name, item in body.items() if name in names}


def _nothing(_request: Any) -> None:
    return None


def _aliases(request: Any) -> dict[str, Any]:
    return {"actions": []} | body_of(request)


def _change(handler: Handler, body: Callable[[Any], Any]) -> Method:
    return Method(handler, replies.update, body, writes=True)


_FIELD = (("field", "field_name"),)
_VECTOR = (("vector", "vector_name"),)
_SNAPSHOT = (("snapshot", "snapshot_name"),)
METHODS: dict[str, Method] = {
    "qdrant.Collections/List": Method(collections.list_collections, infos.names, _nothing),
    "qdrant.Collections/Get": Method(collections.get_collection, infos.info, _nothing),
    "qdrant.Collections/CollectionExists": Method(collections.collection_exists, infos.exists, _nothing),
    "qdrant.Collections/Create": Method(collections.create_collection, infos.done, writes=True),
    "qdrant.Collections/Update": Method(collections.update_collection, infos.done, writes=True),
    "qdrant.Collections/Delete": Method(collections.delete_collection, infos.done, _nothing, writes=True),
    "qdrant.Collections/UpdateAliases": Method(collections.change_aliases, infos.done, _aliases, writes=True),
    "qdrant.Collections/ListAliases": Method(collections.list_aliases, infos.aliases, _nothing),
    "qdrant.Collections/ListCollectionAliases": Method(collections.collection_aliases, infos.aliases, _nothing),
    "qdrant.Points/Upsert": _change(points.upsert, _upsert),
    "qdrant.Points/Delete": _change(points.delete_points, _delete),
    "qdrant.Points/SetPayload": _change(points.set_payload, _set_payload),
    "qdrant.Points/OverwritePayload": _change(points.overwrite_payload, _set_payload),
    "qdrant.Points/DeletePayload": _change(points.delete_payload, _delete_payload),
    "qdrant.Points/ClearPayload": _change(points.clear_payload, _delete),
    "qdrant.Points/UpdateVectors": _change(points.update_vectors, _upsert),
    "qdrant.Points/DeleteVectors": _change(points.delete_vectors, _delete_vectors),
    "qdrant.Points/UpdateBatch": Method(points.batch_update, replies.updates, _operations, writes=True),
    "qdrant.Points/CreateFieldIndex": _change(collections.create_index, _index),
    "qdrant.Points/DeleteFieldIndex": Method(
        collections.delete_index, replies.update, _nothing, writes=True, params=_FIELD
    ),
    "qdrant.Points/CreateVectorName": Method(
        collections.create_vector, replies.update, _new_vector, writes=True, params=_VECTOR
    ),
    "qdrant.Points/DeleteVectorName": Method(
        collections.delete_vector, replies.update, _nothing, writes=True, params=_VECTOR
    ),
    "qdrant.Points/Get": Method(points.get_points, replies.records, lambda request: {"ids": []} | body_of(request)),
    "qdrant.Points/Scroll": Method(points.scroll, replies.scrolled),
    "qdrant.Points/Count": Method(points.count, replies.counted),
    "qdrant.Points/Facet": Method(points.facet, replies.facets),
    "qdrant.Points/Query": Method(queries.query, replies.hits),
    "qdrant.Points/QueryBatch": Method(queries.query_batch, replies.batches, _batch("query_points")),
    "qdrant.Points/QueryGroups": Method(queries.query_groups, replies.groups),
    "qdrant.Points/Search": Method(queries.older(queries.search_as_query), replies.hits, _search),
    "qdrant.Points/SearchBatch": Method(
        queries.older_batch(queries.search_as_query), replies.batches, _batch("search_points", _search)
    ),
    "qdrant.Points/SearchGroups": Method(queries.older_groups(queries.search_as_query), replies.groups, _search),
    "qdrant.Points/Recommend": Method(queries.older(queries.recommend_as_query), replies.hits, _recommend),
    "qdrant.Points/RecommendBatch": Method(
        queries.older_batch(queries.recommend_as_query), replies.batches, _batch("recommend_points", _recommend)
    ),
    "qdrant.Points/RecommendGroups": Method(
        queries.older_groups(queries.recommend_as_query), replies.groups, _recommend
    ),
    "qdrant.Points/Discover": Method(queries.older(queries.discover_as_query), replies.hits),
    "qdrant.Points/DiscoverBatch": Method(
        queries.older_batch(queries.discover_as_query), replies.batches, _batch("discover_points")
    ),
    "qdrant.Snapshots/Create": Method(snapshots.create, infos.snapshot, _nothing, writes=True),
    "qdrant.Snapshots/List": Method(snapshots.list_all, infos.snapshots, _nothing),
    "qdrant.Snapshots/Delete": Method(snapshots.delete, infos.nothing, _nothing, writes=True, params=_SNAPSHOT),
}
