"""A handler's result, as REST would show it -> the gRPC message of the answer: points, hits, groups, updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from embedserve.vectordb.grpc_api.stubs import pb

_INT64 = range(-(1 << 63), 1 << 63)


def set_value(target: Any, value: Any) -> None:
    """Fill a `Value` with JSON. An integer that int64 does not hold becomes a double, as in Qdrant."""
    if value is None:
        target.null_value = 0
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int) and value in _INT64:
        target.integer_value = value
    elif isinstance(value, int | float):
        target.double_value = float(value)
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, dict):
        target.struct_value.SetInParent()
        set_values(target.struct_value.fields, value)
    else:
        target.list_value.SetInParent()
        for item in value:
            set_value(target.list_value.values.add(), item)


def set_values(target: Any, values: dict[str, Any]) -> None:
    """Fill a map of `Value`s."""
    for key, item in values.items():
        set_value(target[key], item)


def point_id(value: Any) -> Any:
    return pb.PointId(num=value) if isinstance(value, int) else pb.PointId(uuid=str(value))


def _vector(target: Any, vector: Any) -> None:
    """Fill a `VectorOutput`, the older fields (which clients before 1.16 read) and the newer."""
    if isinstance(vector, dict):
        values = vector["values"].tolist()
        target.sparse.indices.extend(vector["indices"])
        target.sparse.values.extend(values)
        target.indices.data.extend(vector["indices"])
        target.data.extend(values)
    elif vector.ndim == 2:
        target.multi_dense.SetInParent()
        for row in vector.tolist():
            target.multi_dense.vectors.add().data.extend(row)
            target.data.extend(row)
        target.vectors_count = len(vector)
    else:
        values = vector.tolist()
        target.dense.data.extend(values)
        target.data.extend(values)


def _vectors(target: Any, vector: Any) -> None:
    if not isinstance(vector, dict) or set(vector) == {"indices", "values"}:
        _vector(target.vector, vector)
        return
    target.vectors.SetInParent()
    for name, item in vector.items():
        _vector(target.vectors.vectors[name], item)


def _fill_point(target: Any, record: dict[str, Any]) -> None:
    target.id.CopyFrom(point_id(record["id"]))
    set_values(target.payload, record.get("payload") or {})
    if record.get("vector") is not None:
        _vectors(target.vectors, record["vector"])
    order = record.get("order_value")
    if isinstance(order, int):
        target.order_value.int = order
    elif order is not None:
        target.order_value.float = order


def _fill_hits(target: Any, hits: list[dict[str, Any]]) -> None:
    for hit in hits:
        shown = target.add()
        _fill_point(shown, hit)
        shown.score, shown.version = float(hit["score"]), hit["version"]


def update(result: Any) -> dict[str, Any]:
    return {"result": _update(result)}


def updates(result: Any) -> dict[str, Any]:
    return {"result": [_update(item) for item in result]}


def _update(result: dict[str, Any]) -> Any:
    status = pb.Completed if result["status"] == "completed" else pb.Acknowledged
    return pb.UpdateResult(operation_id=result["operation_id"], status=status)


def records(result: Any) -> dict[str, Any]:
    found = []
    for record in result:
        found.append(pb.RetrievedPoint())
        _fill_point(found[-1], record)
    return {"result": found}


def scrolled(result: Any) -> dict[str, Any]:
    offset = result["next_page_offset"]
    return records(result["points"]) | ({} if offset is None else {"next_page_offset": point_id(offset)})


def hits(result: Any) -> dict[str, Any]:
    """Of a query, {"points": [..]}, or of the older requests, a list."""
    shown = pb.BatchResult()
    _fill_hits(shown.result, result["points"] if isinstance(result, dict) else result)
    return {"result": shown.result}


def batches(result: Any) -> dict[str, Any]:
    return {"result": [pb.BatchResult(**hits(item)) for item in result]}


def groups(result: Any) -> dict[str, Any]:
    shown = pb.GroupsResult()
    for group in result["groups"]:
        target = shown.groups.add()
        if isinstance(group["id"], str):
            target.id.string_value = group["id"]
        elif group["id"] >= 0:
            target.id.unsigned_value = group["id"]
        else:
            target.id.integer_value = group["id"]
        _fill_hits(target.hits, group["hits"])
        if "lookup" in group:
            _fill_point(target.lookup, group["lookup"])
    return {"result": shown}


def counted(result: Any) -> dict[str, Any]:
    return {"result": pb.CountResult(count=result["count"])}


def facets(result: Any) -> dict[str, Any]:
    shown = []
    for hit in result["hits"]:
        value = hit["value"]
        kind = "bool" if isinstance(value, bool) else "integer" if isinstance(value, int) else "string"
        shown.append(pb.FacetHit(value=pb.FacetValue(**{f"{kind}_value": value}), count=hit["count"]))
    return {"hits": shown}


Reply = Callable[[Any], dict[str, Any]]
"""A result -> the fields of the answer, besides `time`."""
