"""Points: upserts and reads by id, scroll, count, facet: request JSON -> Qdrant Edge, and records -> JSON.

Everything that Qdrant Edge would refuse is refused here first, since it writes an update to its log before it looks
at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import qdrant_edge as edge

from embedserve.vectordb.body import Fields, expect, one_of
from embedserve.vectordb.errors import format_error, wrong_input
from embedserve.vectordb.field_conditions import checked
from embedserve.vectordb.filters import need_filter, parse_filter
from embedserve.vectordb.ids import PointId, parse_id, parse_ids, plain_id
from embedserve.vectordb.vectors import Space, parse_point_vectors, vectors_json

PAYLOAD_LEVELS = 100
SHARD_KEY = {"shard_key": "custom sharding"}
_DIRECTIONS = {"asc": edge.Direction.Asc, "desc": edge.Direction.Desc}
Selector = list[PointId] | edge.Filter


def parse_rows(fields: Fields, space: Space) -> list[edge.Point]:
    """{"points": [{id, vector, payload}]} or {"batch": {ids, vectors, payloads}}."""
    if "batch" in fields:
        rows = _batch_rows(fields.need("batch"))
    else:
        rows = [_point_row(item, f"points[{i}]") for i, item in enumerate(fields.need("points", list))]
    points = []
    for i, (point_id, vector, payload) in enumerate(rows):
        if payload is not None:
            check_payload(payload, f"points[{i}].payload")
        if vector is None:
            raise format_error(f"points[{i}].vector: must not be null")
        parsed = parse_point_vectors(space, vector, f"points[{i}].vector")
        points.append(edge.Point(parse_id(point_id), parsed, payload))
    return points


def check_payload(value: Any, where: str) -> dict[str, Any]:
    """Qdrant Edge stores a payload of more than 128 levels and then fails at every read that meets it."""
    payload: dict[str, Any] = expect(value, dict, where)
    _check_depth(payload, PAYLOAD_LEVELS)
    return payload


def _check_depth(value: Any, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise format_error(f"a payload is nested in more than {PAYLOAD_LEVELS} levels")
    for item in value.values() if isinstance(value, dict) else value:
        _check_depth(item, left - 1)


def _point_row(item: Any, where: str) -> tuple[Any, Any, Any]:
    fields = Fields(item, where)
    row = fields.need("id"), fields.need("vector"), fields.take("payload")
    fields.done()
    return row


def _batch_rows(value: Any) -> list[tuple[Any, Any, Any]]:
    fields = Fields(value, "batch")
    ids, vectors = fields.need("ids", list), fields.need("vectors")
    payloads = fields.take("payloads", list) or [None] * len(ids)
    fields.done()
    if isinstance(vectors, dict):  # {name: one a point}
        columns = {name: expect(column, list, f"batch.vectors.{name}") for name, column in vectors.items()}
        if any(len(column) != len(ids) for column in columns.values()):
            raise wrong_input(f"Batch has {len(ids)} ids and another number of vectors; all must be as many")
        vectors = [{name: column[i] for name, column in columns.items()} for i in range(len(ids))]
    expect(vectors, list, "batch.vectors")
    if not len(ids) == len(vectors) == len(payloads):
        raise wrong_input(
            f"Batch has {len(ids)} ids, {len(vectors)} vectors and {len(payloads)} payloads; all must be as many"
        )
    return list(zip(ids, vectors, payloads, strict=True))


def take_selector(fields: Fields, where: str) -> Selector:
    """Which points: exactly one of `points` (ids) and `filter`."""
    fields.refuse(**SHARD_KEY)
    ids, condition = fields.take("points", list), fields.take("filter")
    if (ids is None) == (condition is None):
        raise format_error(f"{where}: give either `points` or `filter`")
    return parse_ids(ids, "points") if ids is not None else need_filter(condition)


def parse_selector(body: Any, where: str = "body") -> Selector:
    """POST points/delete: {"points": [ids]} or {"filter": {..}}."""
    fields = Fields(body, where)
    selector = take_selector(fields, where)
    fields.done()
    return selector


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
    return checked(lambda: select(keys), "with_payload")


def parse_with_vector(fields: Fields, space: Space) -> bool | list[str]:
    """True, false, or the names of the wanted vectors."""
    value = fields.take("with_vector", None, fields.take("with_vectors"))
    if isinstance(value, list):
        names = [expect(name, str, "with_vector") for name in value]
        for name in names:
            space.check_name(name)
        return names
    return bool(expect(value, bool, "with_vector")) if value is not None else False


@dataclass(frozen=True)
class Lookup:
    """POST points: which points, and what of them."""

    ids: list[PointId]
    with_payload: Any
    with_vector: bool | list[str]

    def read(self, shard: edge.EdgeShard) -> list[dict[str, Any]]:
        """In the order of the ids, each once, in calls that are short."""
        ids = list(dict.fromkeys(self.ids))
        records: dict[PointId, dict[str, Any]] = {}
        for start in range(0, len(ids), _PAGE):
            found = shard.retrieve([*ids[start : start + _PAGE]], self.with_payload, self.with_vector)
            records |= {plain_id(record.id): record_json(record) for record in found}
        return [records[point_id] for point_id in ids if point_id in records]


_PAGE = 500


def parse_lookup(body: Any, space: Space) -> Lookup:
    fields = Fields(body, "body")
    fields.refuse(**SHARD_KEY)
    lookup = Lookup(
        parse_ids(fields.need("ids"), "ids"),
        parse_payload_selector(fields.take("with_payload"), True),
        parse_with_vector(fields, space),
    )
    fields.done()
    return lookup


def parse_order(value: Any, where: str = "order_by") -> edge.OrderBy:
    """ "key" or {"key", "direction", "start_from"}."""
    fields = Fields({"key": value} if isinstance(value, str) else value, where)
    key, direction, start = fields.need("key", str), fields.take("direction", str, "asc"), fields.take("start_from")
    fields.done()
    if start is not None and (isinstance(start, bool) or not isinstance(start, int | float | str)):
        raise format_error(f"{where}.start_from: expected a number or a time")
    way = one_of(direction, _DIRECTIONS, f"{where}.direction")
    return checked(lambda: edge.OrderBy(key, way, start), where)


@dataclass(frozen=True)
class Scroll:
    """POST points/scroll. Read in short pages, since Qdrant Edge holds Python's lock during each call."""

    limit: int
    offset: PointId | None
    condition: edge.Filter | None
    with_payload: Any
    with_vector: bool | list[str]
    order_by: edge.OrderBy | None

    def read(self, shard: edge.EdgeShard) -> dict[str, Any]:
        points: list[dict[str, Any]] = []
        offset = self.offset
        step = self.limit if self.order_by is not None else _PAGE
        while True:
            records, after = shard.scroll(
                edge.ScrollRequest(
                    offset=offset,
                    limit=min(step, self.limit - len(points)),
                    filter=self.condition,
                    with_payload=self.with_payload,
                    with_vector=self.with_vector,
                    order_by=self.order_by,
                )
            )
            offset = None if after is None else plain_id(after)
            points += [record_json(record) for record in records]
            if offset is None or len(points) >= self.limit or self.order_by is not None:
                return {"points": points, "next_page_offset": offset}


def parse_scroll(body: Any, space: Space) -> Scroll:
    fields = Fields({} if body is None else body, "body")
    fields.refuse(**SHARD_KEY)
    offset, order = fields.take("offset"), fields.take("order_by")
    if offset is not None and order is not None:
        raise wrong_input(
            "Cannot use an `offset` when using `order_by`. The alternative for paging is to use `start_from`"
        )
    scroll = Scroll(
        fields.count("limit", 10, minimum=1),
        None if offset is None else parse_id(offset),
        parse_filter(fields.take("filter")),
        parse_payload_selector(fields.take("with_payload"), True),
        parse_with_vector(fields, space),
        None if order is None else parse_order(order),
    )
    fields.done()
    return scroll


def parse_count(body: Any) -> edge.CountRequest:
    fields = Fields({} if body is None else body, "body")
    fields.refuse(**SHARD_KEY)
    request = {"filter": parse_filter(fields.take("filter")), "exact": fields.take("exact", bool, True)}
    fields.done()
    return edge.CountRequest(**request)


def parse_facet(body: Any) -> edge.FacetRequest:
    fields = Fields(body, "body")
    fields.refuse(**SHARD_KEY)
    key, limit = fields.need("key", str), fields.count("limit", 10, minimum=1)
    condition, exact = parse_filter(fields.take("filter")), fields.take("exact", bool, False)
    fields.done()
    return checked(lambda: edge.FacetRequest(key, limit, exact, condition), "key")


def record_json(record: Any) -> dict[str, Any]:
    """A record as Qdrant shows it; fields that were not asked for are left out."""
    shown: dict[str, Any] = {"id": record.id}
    if record.payload is not None:
        shown["payload"] = record.payload
    if record.vector is not None:
        shown["vector"] = vectors_json(record.vector)
    if record.order_value is not None:
        shown["order_value"] = record.order_value
    return shown


def scored_json(point: Any) -> dict[str, Any]:
    return {"id": point.id, "version": point.version, "score": np.float32(point.score)} | record_json(point)
