"""Filter JSON -> qdrant_edge.Filter, with the rules of Qdrant's own parser.

A filter is {must, should, must_not, min_should}; each takes one condition or a list. A condition is told by its
fields: {key, match|range|values_count|is_empty|is_null}, {is_empty}, {is_null}, {has_id}, {nested}, or a filter.
An empty list restricts nothing.
"""

from __future__ import annotations

import re
import uuid
from functools import partial
from typing import Any

import numpy as np
import qdrant_edge as edge

from embedserve.vectordb.body import Fields, describe, expect
from embedserve.vectordb.errors import format_error

PointId = int | str
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE)


def parse_id(value: Any) -> PointId:
    """A point id: an unsigned 64-bit integer, or a UUID (normalised to lower case with hyphens)."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64:
        return value
    if isinstance(value, str) and _UUID.fullmatch(value):
        digits = value.replace("-", "").lower()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    shown = repr(value)[:100] if isinstance(value, str | int | float) else describe(value)
    raise format_error(f"value {shown} is not a valid point ID, valid values are either an unsigned integer or a UUID")


def plain_id(value: int | str | uuid.UUID) -> PointId:
    """An id as Qdrant Edge gives it, in the form of `parse_id`."""
    return value if isinstance(value, int) else str(value)


def parse_ids(value: Any, where: str) -> list[PointId]:
    return [parse_id(item) for item in expect(value, list, where)]


def parse_filter(value: Any, where: str = "filter") -> edge.Filter | None:
    """None for null. Raises ApiError that names the wrong part."""
    if value is None:
        return None
    fields = Fields(value, where)
    clauses = {name: _conditions(fields.take(name), f"{where}.{name}") for name in ("must", "should", "must_not")}
    min_should = fields.take("min_should")
    if min_should is not None:
        inner = Fields(min_should, f"{where}.min_should")
        conditions = _conditions(inner.need("conditions", list), f"{inner.where}.conditions") or []
        count = inner.count("min_count", minimum=0)
        if count is None:
            raise format_error(f"{inner.where}: missing field `min_count`")
        inner.done()
        min_should = edge.MinShould(conditions, count)
    fields.done()
    return edge.Filter(min_should=min_should, **clauses)


def _conditions(value: Any, where: str) -> list[Any] | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return [_condition(value, where)]
    return [_condition(item, f"{where}[{i}]") for i, item in enumerate(expect(value, list, where))]


def _condition(value: Any, where: str) -> Any:
    expect(value, dict, where)
    if "key" in value:
        return _field(Fields(value, where))
    fields = Fields(value, where)
    for name, build in _BY_NAME.items():
        if name in fields:
            condition = build(fields.take(name), f"{where}.{name}")
            fields.done()
            return condition
    for name, feature in {"has_vector": "filter by vector name", "slice": "filter by slice"}.items():
        fields.refuse(**{name: feature})
    return parse_filter(value, where)


def _keyed(kind: Any) -> Any:
    def build(value: Any, where: str) -> Any:
        fields = Fields(value, where)
        key = fields.need("key", str)
        fields.done()
        return _checked(lambda: kind(key), where)

    return build


def _nested(value: Any, where: str) -> edge.NestedCondition:
    fields = Fields(value, where)
    key, inner = fields.need("key", str), parse_filter(fields.need("filter"), f"{where}.filter")
    fields.done()
    assert inner is not None
    return _checked(lambda: edge.NestedCondition(key, inner), where)


_BY_NAME = {
    "is_empty": _keyed(edge.IsEmptyCondition),
    "is_null": _keyed(edge.IsNullCondition),
    "has_id": lambda value, where: edge.HasIdCondition(set(parse_ids(value, where))),
    "nested": _nested,
}


def _field(fields: Fields) -> edge.FieldCondition:
    key = fields.need("key", str)
    geo = "filter by place"
    fields.refuse(geo_bounding_box=geo, geo_radius=geo, geo_polygon=geo)
    parts = {
        "match": _match(fields.take("match"), f"{fields.where}.match"),
        "range": _range(fields.take("range"), f"{fields.where}.range"),
        "values_count": _values_count(fields.take("values_count"), f"{fields.where}.values_count"),
        "is_empty": fields.take("is_empty", bool),
        "is_null": fields.take("is_null", bool),
    }
    fields.done()
    given = {name: part for name, part in parts.items() if part is not None}
    if not given:
        raise format_error(f"{fields.where}: a condition on a key needs one of {', '.join(parts)}")
    return _checked(lambda: edge.FieldCondition(key, **given), fields.where)


_TEXT_MATCHES: dict[str, Any] = {
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
}


def _match(value: Any, where: str) -> Any:
    if value is None:
        return None
    fields = Fields(value, where)
    for name, of_text in _TEXT_MATCHES.items():
        if name in fields:
            text = fields.take(name, str)
            fields.done()
            return of_text(text)
    fields.refuse(prefix="match by prefix", substring="match by substring")
    for name, of_values in {"any": edge.MatchAny, "except": edge.MatchExcept}.items():
        if name in fields:
            values = _keywords(fields.take(name, list), f"{where}.{name}")
            fields.done()
            return _checked(partial(of_values, values), where)
    wanted = fields.need("value")
    fields.done()
    if not isinstance(wanted, str | int):
        raise format_error(f"{where}.value: expected a string, an integer or a boolean, got {describe(wanted)}")
    if isinstance(wanted, bool):
        wanted = np.bool_(wanted)  # Qdrant Edge takes a Python bool for the integer that it also is
    return _checked(partial(edge.MatchValue, wanted), where)


def _keywords(values: list[Any], where: str) -> list[Any]:
    kinds = {type(value) for value in values}
    if kinds - {str} and kinds - {int}:
        raise format_error(f"{where}: expected only strings or only integers")
    return values


_BOUNDS = ("lt", "gt", "lte", "gte")


def _range(value: Any, where: str) -> Any:
    if value is None:
        return None
    fields = Fields(value, where)
    bounds = {name: fields.take(name) for name in _BOUNDS}
    fields.done()
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    if any(isinstance(bound, str) for bound in given.values()):
        times = {name: expect(bound, str, f"{where}.{name}") for name, bound in given.items()}
        return _checked(lambda: edge.RangeDateTime(**times), where)
    return edge.RangeFloat(**{n: float(expect(b, float, f"{where}.{n}")) for n, b in given.items()})


def _values_count(value: Any, where: str) -> edge.ValuesCount | None:
    if value is None:
        return None
    fields = Fields(value, where)
    bounds = {name: fields.count(name) for name in _BOUNDS}
    fields.done()
    return edge.ValuesCount(**bounds)


def _checked(build: Any, where: str) -> Any:
    """What Qdrant Edge refuses to construct (a malformed key path, an integer too large) is the client's error."""
    try:
        return build()
    except (ValueError, TypeError, OverflowError) as error:
        raise format_error(f"{where}: {str(error).splitlines()[0]}") from None
