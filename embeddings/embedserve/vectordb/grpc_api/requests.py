"""A gRPC message -> the JSON that REST takes in its place.

`plain` goes over a message's fields by its descriptor: what is set keeps its name, an enum becomes its word, a number
without presence is always there (a longitude of 0 is a longitude). Where JSON has another shape than the message, the
message has a function of its own in `_SHAPES`. What is in neither would be a field that REST refuses by name, so
nothing is dropped in silence. A number that JSON has not (NaN, infinite) is refused here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from embedserve.vectordb.errors import wrong_input

_RENAMED = {
    "shard_key_selector": "shard_key",
    "vectors_config": "vectors",
    "sparse_vectors_config": "sparse_vectors",
    "field_index_params": "field_schema",
    "turboquant": "turbo",
    "datetime_range": "range",
    "deprecated_max_optimization_threads": "max_optimization_threads",
}
_NO_VALUE = {"UnknownDistance", "MemoryUnknown", "Default", "Unknown", "UnknownQuantization"}
_OF_THE_CALL = ("collection_name", "wait", "ordering", "read_consistency", "timeout")


def body_of(request: Any) -> dict[str, Any]:
    """The body without what REST has in the path and in query parameters."""
    body = fields_of(request)
    for name in _OF_THE_CALL:
        body.pop(name, None)
    return body


def plain(message: Any) -> Any:
    """The JSON of any message. ApiError 400: a choice with nothing chosen."""
    shape = _SHAPES.get(message.DESCRIPTOR.name)
    return fields_of(message) if shape is None else shape(message)


def fields_of(message: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.is_repeated:
            if not value:
                continue
            shown[_RENAMED.get(field.name, field.name)] = _several(field, value)
            continue
        found = _one(field, value)
        if found is not None:
            shown[_RENAMED.get(field.name, field.name)] = found
    return shown


def _several(field: Any, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name["value"]
        return {key: _one(inner, value[key]) for key in value}
    if field.message_type is not None:
        return [plain(item) for item in value]
    return _numbers(value) if field.cpp_type == field.CPPTYPE_FLOAT else list(value)


def _one(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    if isinstance(value, float):
        return _finite(value, field.name)
    if field.enum_type is None:
        return value
    known = field.enum_type.values_by_number.get(value)
    if known is None:
        raise wrong_input(f"{field.name}: unknown value {value}")
    return word_of(field.enum_type.name, known.name)


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise wrong_input(f"{where}: a number is not finite")
    return value


def _numbers(data: Any) -> list[float]:
    """A vector's numbers, in C: the sum of float32 numbers is finite in float64 if they all are."""
    numbers = list(data)
    _finite(sum(numbers), "vector")
    return numbers


def word_of(enum: str, name: str) -> str | None:
    """REST's word for an enum's value: `MaxSim` is max_sim; None for those that stand for nothing."""
    if name in _NO_VALUE:
        return None
    if enum == "Distance":
        return name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.removeprefix("FieldType")).lower()


def chosen(message: Any, oneof: str) -> tuple[str, Any]:
    """Which of a choice is set, and it."""
    name = message.WhichOneof(oneof)
    if name is None:
        raise wrong_input(f"a {message.DESCRIPTOR.name} is empty")
    return name, getattr(message, name)


def _choice(oneof: str) -> Callable[[Any], Any]:
    """The shape of a message that is only a choice: what is chosen."""

    def shape(message: Any) -> Any:
        name, value = chosen(message, oneof)
        return _one(message.DESCRIPTOR.fields_by_name[name], value)

    return shape


def _named(oneof: str) -> Callable[[Any], Any]:
    """{its name: what is chosen}."""

    def shape(message: Any) -> Any:
        name, value = chosen(message, oneof)
        return {name: _one(message.DESCRIPTOR.fields_by_name[name], value)}

    return shape


def json_value(message: Any) -> Any:
    """A payload's value."""
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        return {key: json_value(item) for key, item in message.struct_value.fields.items()}
    if kind == "list_value":
        return [json_value(item) for item in message.list_value.values]
    if kind == "double_value":
        return _finite(message.double_value, "payload")
    return None if kind in (None, "null_value") else getattr(message, kind)


def _payload(entries: Any) -> dict[str, Any]:
    return {key: json_value(entries[key]) for key in entries}


def _vector(message: Any) -> Any:
    """Of a point: what is chosen, or the older fields (`data` with `indices` or `vectors_count`)."""
    if message.WhichOneof("vector") is not None:
        return _choice("vector")(message)
    data = _numbers(message.data)
    if message.HasField("indices"):
        return {"indices": list(message.indices.data), "values": data}
    if message.HasField("vectors_count") and message.vectors_count:
        rows = message.vectors_count
        size, rest = divmod(len(data), rows)
        if rest:
            raise wrong_input(f"{len(data)} numbers cannot be {rows} vectors of one size")
        return [data[i * size : (i + 1) * size] for i in range(rows)]
    return data


def _vectors(message: Any) -> Any:
    name, value = chosen(message, "vectors_options")
    return _vector(value) if name == "vector" else {key: _vector(value.vectors[key]) for key in value.vectors}


def _point(message: Any) -> dict[str, Any]:
    point = {
        "id": plain(message.id),
        "vector": _vectors(message.vectors) if message.HasField("vectors") else {},
    }
    return point | {"payload": _payload(message.payload)} if message.payload else point


def _point_vectors(message: Any) -> dict[str, Any]:
    return {"id": plain(message.id), "vector": _vectors(message.vectors)}


def _sparse(message: Any) -> dict[str, Any]:
    return {"indices": list(message.indices), "values": _numbers(message.values)}


_MATCHES = {
    "keyword": "value",
    "integer": "value",
    "boolean": "value",
    "keywords": "any",
    "integers": "any",
    "except_keywords": "except",
    "except_integers": "except",
}


def _match(message: Any) -> dict[str, Any]:
    name, value = chosen(message, "match_value")
    if name.endswith("keywords"):
        value = list(value.strings)
    elif name.endswith("integers"):
        value = list(value.integers)
    return {_MATCHES.get(name, name): value}


def _condition(message: Any) -> dict[str, Any]:
    name, value = chosen(message, "condition_one_of")
    if name in ("field", "filter"):
        return dict(plain(value))
    if name == "has_id":
        return {"has_id": [plain(item) for item in value.has_id]}
    return {name: value.has_vector if name == "has_vector" else plain(value)}


def _nearest_with_mmr(message: Any) -> dict[str, Any]:
    return {"nearest": plain(message.nearest), "mmr": plain(message.mmr)}


def _query(message: Any) -> dict[str, Any]:
    name, value = chosen(message, "variant")
    if name == "formula":
        return {"formula": plain(value.expression), "defaults": _payload(value.defaults)}
    if name == "nearest_with_mmr":
        return _nearest_with_mmr(value)
    return {name: _one(message.DESCRIPTOR.fields_by_name[name], value)}


def _text_query(message: Any) -> dict[str, Any]:
    scoring = message.WhichOneof("scoring")
    return {"query": message.query} | ({"scoring": {scoring: plain(message.bm25)}} if scoring else {})


def _expression(message: Any) -> Any:
    name, value = chosen(message, "variant")
    if name in ("constant", "variable"):
        return value
    if name in ("mult", "sum", "max", "min"):
        return {name: [plain(item) for item in getattr(value, name)]}
    inner = _one(message.DESCRIPTOR.fields_by_name[name], value)
    return inner if name == "condition" else {name: inner}


def _lookup(message: Any) -> dict[str, Any]:
    found = fields_of(message)
    vector = found.pop("vector_name", None)
    return {"collection": found.pop("collection_name")} | ({} if vector is None else {"vector": vector}) | found


def _vectors_config(message: Any) -> Any:
    """One for the unnamed vector, or one for each name."""
    name, value = chosen(message, "config")
    return plain(value) if name == "params" else {key: plain(value.map[key]) for key in value.map}


def _index(message: Any) -> dict[str, Any]:
    name, value = chosen(message, "index_params")
    found = fields_of(value) | {"type": name.removesuffix("_index_params")}
    return found | {"prefix": True} if "prefix" in found else found


def _stemmer(message: Any) -> dict[str, Any]:
    name, value = chosen(message, "stemming_params")
    return {"type": "none"} if name == "disabled" else {"type": "snowball", "language": value.language}


_SHAPES: dict[str, Callable[[Any], Any]] = {
    "PointId": _choice("point_id_options"),
    "Value": json_value,
    "Timestamp": lambda message: message.ToJsonString(),
    "DenseVector": lambda message: _numbers(message.data),
    "SparseVector": _sparse,
    "MultiDenseVector": lambda message: [_numbers(row.data) for row in message.vectors],
    "Vector": _vector,
    "VectorInput": _choice("variant"),
    "VectorExample": _choice("example"),
    "TargetVector": _choice("target"),
    "Vectors": _vectors,
    "PointStruct": _point,
    "PointVectors": _point_vectors,
    "PointsIdsList": lambda message: [plain(item) for item in message.ids],
    "PointsSelector": _named("points_selector_one_of"),
    "VectorsSelector": lambda message: list(message.names),
    "WithVectorsSelector": _choice("selector_options"),
    "PayloadIncludeSelector": lambda message: {"include": list(message.fields)},
    "PayloadExcludeSelector": lambda message: {"exclude": list(message.fields)},
    "WithPayloadSelector": _choice("selector_options"),
    "ShardKeySelector": lambda message: [plain(item) for item in message.shard_keys],
    "ShardKey": _choice("key"),
    "Match": _match,
    "Condition": _condition,
    "StartFrom": _choice("value"),
    "Query": _query,
    "TextQuery": _text_query,
    "ContextInput": lambda message: [plain(item) for item in message.pairs],
    "Expression": _expression,
    "LookupLocation": _lookup,
    "IdfParams": lambda message: fields_of(message) or "global",
    "FeedbackStrategy": _named("variant"),
    "VectorsConfig": _vectors_config,
    "VectorsConfigDiff": lambda message: (
        {"": plain(message.params)} if message.HasField("params") else _vectors_config(message)
    ),
    "SparseVectorConfig": lambda message: {key: plain(message.map[key]) for key in message.map},
    "MaxOptimizationThreads": _choice("variant"),
    "PayloadIndexParams": _index,
    "StemmingAlgorithm": _stemmer,
}
