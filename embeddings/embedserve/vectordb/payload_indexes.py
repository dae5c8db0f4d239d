"""Payload index schemas, JSON <-> Qdrant Edge; the scored text index (BM25, tokenizer for code) among them."""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields, expect, one_of
from embedserve.vectordb.errors import format_error
from embedserve.vectordb.field_conditions import checked
from embedserve.vectordb.text_analysis import Analysis

MEMORY = {"cold": edge.Memory.Cold, "cached": edge.Memory.Cached, "pinned": edge.Memory.Pinned}
_COMMON = ("on_disk", "enable_hnsw")
_KINDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "keyword": (edge.KeywordIndexParams, ("is_tenant", "prefix")),
    "integer": (edge.IntegerIndexParams, ("lookup", "range", "is_principal")),
    "float": (edge.FloatIndexParams, ("is_principal",)),
    "datetime": (edge.DatetimeIndexParams, ("is_principal",)),
    "bool": (edge.BoolIndexParams, ()),
    "uuid": (edge.UuidIndexParams, ("is_tenant",)),
    "geo": (edge.GeoIndexParams, ()),
    "text": (edge.TextIndexParams, ("lowercase", "ascii_folding", "phrase_matching")),
}


def parse_index(value: Any) -> tuple[dict[str, Any], Any]:
    """A `field_schema`, as ({"data_type", "params"?} for GET, parameters for Qdrant Edge)."""
    plain = isinstance(value, str)
    fields = Fields({"type": value} if plain else value, "field_schema")
    kind = fields.need("type", str)
    cls, flags = one_of(kind, _KINDS, "field_schema.type")
    shown: dict[str, Any] = {name: fields.take(name, bool) for name in (*flags, *_COMMON)}
    native = dict(shown)
    memory, nested = fields.take("memory", str), fields.take("nested", str)
    shown |= {"memory": memory, "nested": nested}
    native |= {"memory": None if memory is None else one_of(memory, MEMORY, "field_schema.memory"), "nested": nested}
    if kind == "text":
        _text(fields, shown, native)
    fields.done()
    params = checked(lambda: cls(**{name: item for name, item in native.items() if item is not None}), "field_schema")
    result: dict[str, Any] = {"data_type": kind}
    if not plain:
        result["params"] = {"type": kind} | {name: item for name, item in shown.items() if item is not None}
    return result, params


def _text(fields: Fields, shown: dict[str, Any], native: dict[str, Any]) -> None:
    analysis = Analysis(fields, "field_schema", default_tokenizer="word")
    shown |= analysis.shown
    native |= analysis.native
    shown["scoring"] = fields.take("scoring")
    native["scoring"] = _scoring(shown["scoring"])


def _scoring(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    fields = Fields(value, "field_schema.scoring")
    if fields.need("type", str) != "bm25":
        raise format_error("field_schema.scoring.type: unknown variant, expected one of bm25")
    fields.done()
    return True


def index_from_shown(shown: dict[str, Any]) -> Any:
    """The Qdrant Edge parameters of an index as GET shows it."""
    return parse_index(expect(shown.get("params", shown["data_type"]), dict if "params" in shown else str, "schema"))[1]
