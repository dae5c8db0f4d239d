"""Points and queries: request JSON -> Qdrant Edge, and results -> JSON.

Everything that Qdrant Edge would refuse is refused here first, since it writes an update to its log before it looks
at it. Vectors stay Python lists (Edge reads them faster than numpy arrays) and are checked with `set(map(type, ..))`,
`min` and `max`, which run in C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import qdrant_edge as edge

from embedserve.vectordb.body import Fields, describe, expect
from embedserve.vectordb.errors import format_error, unsupported, wrong_input
from embedserve.vectordb.filters import need_filter, parse_filter
from embedserve.vectordb.ids import PointId, parse_id, parse_ids

_PAYLOAD_LEVELS = 100
_F32_MAX = float(np.finfo(np.float32).max)
_NOT_HERE = {"shard_key": "custom sharding", "lookup_from": "look-up in another collection"}


def parse_vector(value: Any, size: int, where: str) -> list[float]:
    """`size` finite numbers that fit float32."""
    if isinstance(value, dict):
        raise unsupported("named or sparse vectors")
    expect(value, list, where)
    if not set(map(type, value)) <= {float, int}:
        wrong = next(item for item in value if type(item) not in (float, int))
        if isinstance(wrong, list):
            raise unsupported("multivectors")
        raise format_error(f"{where}: expected numbers, got {describe(wrong)}")
    if len(value) != size:
        raise wrong_input(f"Vector dimension error: expected dim: {size}, got {len(value)}")
    if not (min(value) >= -_F32_MAX and max(value) <= _F32_MAX):
        raise format_error(f"{where}: a number is out of float32's range")
    return value


def parse_upsert(body: Any, size: int) -> list[edge.Point]:
    """PUT points: {"points": [{id, vector, payload}]} or {"batch": {ids, vectors, payloads}}."""
    fields = Fields(body, "body")
    fields.refuse(shard_key=_NOT_HERE["shard_key"], update_filter="conditional updates")
    if fields.take("update_mode", str, "upsert") != "upsert":
        raise unsupported("conditional updates (`update_mode`)")
    if "batch" in fields:
        rows = _batch_rows(fields.take("batch"))
    else:
        rows = [_point_row(item, f"points[{i}]") for i, item in enumerate(fields.need("points", list))]
    fields.done()
    points = []
    for i, (point_id, vector, payload) in enumerate(rows):
        if payload is not None:
            expect(payload, dict, f"points[{i}].payload")
            _check_depth(payload)
        checked = parse_vector(vector, size, f"points[{i}].vector")
        points.append(edge.Point(parse_id(point_id), checked, payload))
    return points


def _check_depth(value: Any, left: int = _PAYLOAD_LEVELS) -> None:
    """Qdrant Edge stores a payload of more than 128 levels and then fails at every read that meets it."""
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise format_error(f"a payload is nested in more than {_PAYLOAD_LEVELS} levels")
    for item in value.values() if isinstance(value, dict) else value:
        _check_depth(item, left - 1)


def _point_row(item: Any, where: str) -> tuple[Any, Any, Any]:
    fields = Fields(item, where)
    row = fields.need("id"), fields.need("vector"), fields.take("payload")
    fields.done()
    return row


def _batch_rows(value: Any) -> list[tuple[Any, Any, Any]]:
    fields = Fields(value, "batch")
    ids, vectors = fields.need("ids", list), fields.need("vectors", list)
    payloads = fields.take("payloads", list) or [None] * len(ids)
    fields.done()
    if not len(ids) == len(vectors) == len(payloads):
        raise wrong_input(
            f"Batch has {len(ids)} ids, {len(vectors)} vectors and {len(payloads)} payloads; all must be as many"
        )
    return list(zip(ids, vectors, payloads, strict=True))


def parse_selector(body: Any) -> list[PointId] | edge.Filter:
    """POST points/delete: {"points": [ids]} or {"filter": {..}}."""
    fields = Fields(body, "body")
    fields.refuse(shard_key=_NOT_HERE["shard_key"])
    ids, condition = fields.take("points", list), fields.take("filter")
    fields.done()
    if (ids is None) == (condition is None):
        raise format_error("body: give either `points` or `filter`")
    if ids is not None:
        return parse_ids(ids, "points")
    return need_filter(condition)


def parse_payload_selector(value: Any, default: bool) -> Any:
    """with_payload: a boolean, a list of keys, {"include": [..]} or {"exclude": [..]}."""
    if value is None or isinstance(value, bool):
        return default if value is None else value
    if isinstance(value, list):
        value = {"include": value}
    fields = Fields(value, "with_payload")
    include, exclude = fields.take("include", list), fields.take("exclude", list)
    fields.done()
    if (include is None) == (exclude is None):
        raise format_error("with_payload: give either `include` or `exclude`")
    keys = [expect(key, str, "with_payload") for key in (exclude if include is None else include)]
    select = edge.PayloadSelector.Exclude if include is None else edge.PayloadSelector.Include
    try:
        return select(keys)
    except ValueError as error:
        raise format_error(f"with_payload: {error}") from None


def parse_with_vector(fields: Fields) -> bool:
    value = fields.take("with_vector", None, fields.take("with_vectors"))
    if isinstance(value, list):
        raise unsupported("named vectors (`with_vector`)")
    return bool(expect(value, bool, "with_vector")) if value is not None else False


@dataclass(frozen=True)
class Lookup:
    """POST points: which points, and what of them."""

    ids: list[PointId]
    with_payload: Any
    with_vector: bool


def parse_lookup(body: Any) -> Lookup:
    fields = Fields(body, "body")
    fields.refuse(shard_key=_NOT_HERE["shard_key"])
    lookup = Lookup(
        parse_ids(fields.need("ids"), "ids"),
        parse_payload_selector(fields.take("with_payload"), True),
        parse_with_vector(fields),
    )
    fields.done()
    return lookup


def parse_scroll(body: Any) -> edge.ScrollRequest:
    fields = Fields(body, "body")
    fields.refuse(shard_key=_NOT_HERE["shard_key"], order_by="ordering by payload")
    offset = fields.take("offset")
    request = {
        "offset": None if offset is None else parse_id(offset),
        "limit": fields.count("limit", 10, minimum=1),
        "filter": parse_filter(fields.take("filter")),
        "with_payload": parse_payload_selector(fields.take("with_payload"), True),
        "with_vector": parse_with_vector(fields),
    }
    fields.done()
    return edge.ScrollRequest(**request)


def parse_count(body: Any) -> edge.CountRequest:
    fields = Fields(body, "body")
    fields.refuse(shard_key=_NOT_HERE["shard_key"])
    request = {"filter": parse_filter(fields.take("filter")), "exact": fields.take("exact", bool, True)}
    fields.done()
    return edge.CountRequest(**request)


@dataclass(frozen=True)
class Search:
    """A nearest-neighbour query. With `like`, its vector is that point's, and the point itself is left out."""

    options: dict[str, Any]
    condition: Any
    vector: list[float] | None = None
    like: PointId | None = None

    def request(self, vector_of_like: list[float] | None = None) -> edge.QueryRequest:
        vector, condition = self.vector, parse_filter(self.condition)
        if self.like is not None:
            vector = vector_of_like
            others = edge.Filter(must_not=[edge.HasIdCondition({self.like})])
            condition = others if condition is None else edge.Filter(must=[condition, others])
        query = None if vector is None else edge.Query.Nearest(vector)
        return edge.QueryRequest(query=query, filter=condition, **self.options)


def parse_query(body: Any, size: int, where: str = "body") -> Search:
    """POST points/query: the newer form, where `query` may also be a point's id or {"nearest": ..}."""
    fields = Fields(body, where)
    fields.refuse(prefetch="multi-stage queries", **_NOT_HERE)
    _refuse_named(fields)
    target = fields.take("query")
    if isinstance(target, dict):
        inner = Fields(target, "query")
        other = next((name for name in target if name != "nearest"), None)
        if other is not None:
            raise unsupported(f"`{other}` queries")
        target = inner.need("nearest")
        inner.done()
    vector = parse_vector(target, size, "query") if isinstance(target, list) else None
    like = parse_id(target) if target is not None and vector is None else None
    return _search(fields, 10, vector, like)


def parse_search(body: Any, size: int, where: str = "body") -> Search:
    """POST points/search: the older form."""
    fields = Fields(body, where)
    fields.refuse(**_NOT_HERE)
    vector = fields.need("vector")
    if isinstance(vector, dict) and not vector.get("name"):
        inner = Fields(vector, "vector")
        inner.take("name")
        vector = inner.need("vector")
        inner.done()
    if "limit" not in fields:
        raise format_error(f"{where}: missing field `limit`")
    return _search(fields, 0, parse_vector(vector, size, "vector"), None)


def _search(fields: Fields, limit: int, vector: list[float] | None, like: PointId | None) -> Search:
    condition, threshold = fields.take("filter"), fields.take("score_threshold", float)
    options = {
        "limit": fields.count("limit", limit, minimum=1),
        "offset": fields.count("offset", 0),
        "params": _params(fields.take("params")),
        "score_threshold": threshold,
        "with_payload": parse_payload_selector(fields.take("with_payload"), False),
        "with_vector": parse_with_vector(fields),
    }
    fields.done()
    parse_filter(condition, f"{fields.where}.filter")
    return Search(options, condition, vector, like)


def _refuse_named(fields: Fields) -> None:
    if fields.take("using", str, "") != "":
        raise unsupported("named vectors (`using`)")


def _params(value: Any) -> edge.SearchParams | None:
    if value is None:
        return None
    fields = Fields(value, "params")
    fields.refuse(quantization="quantization", acorn="ACORN search", idf="sparse vectors")
    params = {
        "hnsw_ef": fields.count("hnsw_ef"),
        "exact": fields.take("exact", bool, False),
        "indexed_only": fields.take("indexed_only", bool, False),
    }
    fields.done()
    return edge.SearchParams(**params)


def record_json(record: Any) -> dict[str, Any]:
    """A record as Qdrant shows it; fields that were not asked for are left out."""
    shown: dict[str, Any] = {"id": record.id}
    if record.payload is not None:
        shown["payload"] = record.payload
    if record.vector is not None:
        shown["vector"] = np.asarray(record.vector, dtype=np.float32)  # printed with float32's digits
    return shown


def scored_json(point: Any) -> dict[str, Any]:
    shown = {"id": point.id, "version": point.version, "score": np.float32(point.score)}
    return shown | record_json(point)
