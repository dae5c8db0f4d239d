"""A condition on one payload field, {key, match | range | geo_* | values_count | is_empty | is_null} -> Qdrant Edge."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import qdrant_edge as edge

from embedserve.vectordb.body import Fields, describe, expect
from embedserve.vectordb.errors import format_error

T = TypeVar("T")


def field_condition(fields: Fields) -> edge.FieldCondition:
    """Raises ApiError that names the wrong part."""
    key = fields.need("key", str)
    where = fields.where
    parts = {name: fields.take(name) for name in _PARTS}
    fields.done()
    given = {name: _PARTS[name](part, f"{where}.{name}") for name, part in parts.items() if part is not None}
    if not given:
        raise format_error(f"{where}: a condition on a key needs one of {', '.join(_PARTS)}")
    return checked(lambda: edge.FieldCondition(key, **given), where)


def _match(value: Any, where: str) -> Any:
    fields = Fields(value, where)
    for name, of_text in _TEXT_MATCHES.items():
        if name in fields:
            text = fields.need(name, str)
            fields.done()
            return of_text(text)
    for name, of_values in {"any": edge.MatchAny, "except": edge.MatchExcept}.items():
        if name in fields:
            values = _keywords(fields.need(name, list), f"{where}.{name}")
            fields.done()
            return checked(partial(of_values, values), where)
    wanted = fields.need("value")
    fields.done()
    if not isinstance(wanted, str | int):
        raise format_error(f"{where}.value: expected a string, an integer or a boolean, got {describe(wanted)}")
    if isinstance(wanted, bool):
        wanted = np.bool_(wanted)  # Qdrant Edge takes a Python bool for the integer that it also is
    return checked(partial(edge.MatchValue, wanted), where)


_TEXT_MATCHES: dict[str, Any] = {
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
    "prefix": edge.MatchPrefix,
    "substring": edge.MatchSubstring,
}


def _keywords(values: list[Any], where: str) -> list[Any]:
    kinds = {type(value) for value in values}
    if kinds - {str} and kinds - {int}:
        raise format_error(f"{where}: expected only strings or only integers")
    return values


_BOUNDS = ("lt", "gt", "lte", "gte")


def _range(value: Any, where: str) -> Any:
    fields = Fields(value, where)
    bounds = {name: fields.take(name) for name in _BOUNDS}
    fields.done()
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    if any(isinstance(bound, str) for bound in given.values()):
        times = {name: expect(bound, str, f"{where}.{name}") for name, bound in given.items()}
        return checked(lambda: edge.RangeDateTime(**times), where)
    return edge.RangeFloat(**{n: float(expect(b, float, f"{where}.{n}")) for n, b in given.items()})


def _values_count(value: Any, where: str) -> edge.ValuesCount:
    fields = Fields(value, where)
    bounds = {name: fields.count(name) for name in _BOUNDS}
    fields.done()
    return edge.ValuesCount(**bounds)


def parse_place(value: Any, where: str) -> edge.GeoPoint:
    fields = Fields(value, where)
    lon, lat = float(fields.need("lon", float)), float(fields.need("lat", float))
    fields.done()
    return checked(lambda: edge.GeoPoint(lon, lat), where)


def _box(value: Any, where: str) -> edge.GeoBoundingBox:
    fields = Fields(value, where)
    corners = [parse_place(fields.need(name), f"{where}.{name}") for name in ("top_left", "bottom_right")]
    fields.done()
    return checked(lambda: edge.GeoBoundingBox(*corners), where)


def _radius(value: Any, where: str) -> edge.GeoRadius:
    fields = Fields(value, where)
    center, radius = parse_place(fields.need("center"), f"{where}.center"), float(fields.need("radius", float))
    fields.done()
    return checked(lambda: edge.GeoRadius(center, radius), where)


def _polygon(value: Any, where: str) -> edge.GeoPolygon:
    fields = Fields(value, where)
    exterior = _line(fields.need("exterior"), f"{where}.exterior")
    interiors = [_line(ring, f"{where}.interiors[{i}]") for i, ring in enumerate(fields.take("interiors", list, []))]
    fields.done()
    return checked(lambda: edge.GeoPolygon(exterior, interiors), where)


def _line(value: Any, where: str) -> list[edge.GeoPoint]:
    fields = Fields(value, where)
    points = [parse_place(p, f"{where}.points[{i}]") for i, p in enumerate(fields.need("points", list))]
    fields.done()
    return points


def _flag(value: Any, where: str) -> bool:
    return bool(expect(value, bool, where))


_PARTS: dict[str, Any] = {
    "match": _match,
    "range": _range,
    "geo_bounding_box": _box,
    "geo_radius": _radius,
    "geo_polygon": _polygon,
    "values_count": _values_count,
    "is_empty": _flag,
    "is_null": _flag,
}


def checked(build: Callable[[], T], where: str) -> T:
    """What Qdrant Edge refuses to construct (a malformed key path, an integer too large) is the client's error."""
    try:
        return build()
    except (ValueError, TypeError, OverflowError) as error:
        raise format_error(f"{where}: {str(error).splitlines()[0]}") from None


def key_path(value: str, where: str) -> str:
    """`value`, a path into a payload ("a.b[]"). A malformed one is a 400 that names `where`."""
    checked(lambda: edge.PayloadSelector.Include([value]), where)
    return value
