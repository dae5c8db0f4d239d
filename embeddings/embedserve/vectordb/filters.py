"""Filter JSON -> qdrant_edge.Filter, with the rules of Qdrant's own parser.

A filter is {must, should, must_not, min_should}; each takes one condition or a list. A condition is told by its
fields: {key, ..} (see `field_conditions`), {is_empty}, {is_null}, {has_id}, {has_vector}, {nested}, {slice}, or a
filter. An empty list restricts nothing. A field decides by being there, null or not: a null where a value is needed
is an error, never a condition that matches everything.
"""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields, expect
from embedserve.vectordb.errors import validation_error
from embedserve.vectordb.field_conditions import checked, field_condition
from embedserve.vectordb.ids import parse_ids


def parse_filter(value: Any, where: str = "filter") -> edge.Filter | None:
    """None for null. Raises ApiError that names the wrong part."""
    return None if value is None else need_filter(value, where)


def need_filter(value: Any, where: str = "filter") -> edge.Filter:
    """A filter that has to be there: null is an error."""
    fields = Fields(value, where)
    clauses = {name: _conditions(fields.take(name), f"{where}.{name}") for name in ("must", "should", "must_not")}
    min_should = fields.take("min_should")
    if min_should is not None:
        inner = Fields(min_should, f"{where}.min_should")
        conditions = _conditions(inner.need("conditions", list), f"{inner.where}.conditions") or []
        inner_count = inner.need("min_count", int)
        if inner_count < 0:
            raise validation_error(f"{inner.where}.min_count: value {inner_count} invalid, must be 0 or larger")
        inner.done()
        if inner_count > len(conditions):  # no point can: the engine would leave the clause out beside one with ids
            conditions, inner_count = [parse_condition({"has_id": []}, inner.where)], 1
        min_should = edge.MinShould(conditions, inner_count)
    fields.done()
    return edge.Filter(min_should=min_should, **clauses)


def _conditions(value: Any, where: str) -> list[Any] | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return [parse_condition(value, where)]
    return [parse_condition(item, f"{where}[{i}]") for i, item in enumerate(expect(value, list, where))]


def parse_condition(value: Any, where: str) -> Any:
    """One condition of any kind."""
    expect(value, dict, where)
    if "key" in value:
        return field_condition(Fields(value, where))
    for name, build in _BY_NAME.items():
        if name in value:
            fields = Fields(value, where)
            condition = build(fields.need(name), f"{where}.{name}")
            fields.done()
            return condition
    return need_filter(value, where)


def _keyed(kind: Any) -> Any:
    def build(value: Any, where: str) -> Any:
        fields = Fields(value, where)
        key = fields.need("key", str)
        fields.done()
        return checked(lambda: kind(key), where)

    return build


def _nested(value: Any, where: str) -> edge.NestedCondition:
    fields = Fields(value, where)
    key, inner = fields.need("key", str), need_filter(fields.need("filter"), f"{where}.filter")
    fields.done()
    return checked(lambda: edge.NestedCondition(key, inner), where)


def _slice(value: Any, where: str) -> Any:
    fields = Fields(value, where)
    total, index = fields.need("total", int), fields.need("index", int)
    fields.done()
    if not 0 <= index < total < 1 << 32:
        raise validation_error(f"{where}: index must be from 0 to total - 1")
    return checked(lambda: edge.SliceCondition(total, index), where)  # type: ignore[attr-defined]


def _has_vector(value: Any, where: str) -> Any:
    return edge.HasVectorCondition(expect(value, str, where))


_BY_NAME = {
    "is_empty": _keyed(edge.IsEmptyCondition),
    "is_null": _keyed(edge.IsNullCondition),
    "has_id": lambda value, where: edge.HasIdCondition(set(parse_ids(value, where))),
    "has_vector": _has_vector,
    "nested": _nested,
    "slice": _slice,
}
