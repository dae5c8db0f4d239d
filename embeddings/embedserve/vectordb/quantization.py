"""Quantised vectors, JSON <-> Qdrant Edge: `quantization_config` of a collection, `params.quantization` of a search.

Qdrant Edge makes them when it builds the index; before that, and for new points, a search reads the originals. Scalar
and binary are here. Product and turbo quantisation answer 501.
"""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields, one_of
from embedserve.vectordb.errors import format_error, unsupported
from embedserve.vectordb.payload_indexes import MEMORY

_F32_MAX = 3.4028234663852886e38
_ENCODINGS = {
    "one_bit": edge.BinaryQuantizationEncoding.OneBit,
    "two_bits": edge.BinaryQuantizationEncoding.TwoBits,
    "one_and_half_bits": edge.BinaryQuantizationEncoding.OneAndHalfBits,
}
_QUERY_ENCODINGS = {
    "default": edge.BinaryQuantizationQueryEncoding.Default,
    "binary": edge.BinaryQuantizationQueryEncoding.Binary,
    "scalar4bits": edge.BinaryQuantizationQueryEncoding.Scalar4Bits,
    "scalar8bits": edge.BinaryQuantizationQueryEncoding.Scalar8Bits,
}


def parse_quantization(value: Any, where: str) -> dict[str, Any] | None:
    """As GET shows it; None where nothing is quantised."""
    if value is None:
        return None
    fields = Fields(value, where)
    for other in ("product", "turbo"):
        if fields.take(other) is not None:
            raise unsupported(f"{other} quantization (`{where}`)")
    scalar, binary = fields.take("scalar", dict), fields.take("binary", dict)
    fields.done()
    if (scalar is None) == (binary is None):
        raise format_error(f"{where}: expected one of scalar, binary")
    if scalar is not None:
        return {"scalar": _scalar(Fields(scalar, f"{where}.scalar"))}
    return {"binary": _binary(Fields(binary, f"{where}.binary"))}


def _scalar(fields: Fields) -> dict[str, Any]:
    one_of(fields.need("type", str), {"int8": None}, f"{fields.where}.type")
    return {"type": "int8", **_given({"quantile": fields.number("quantile", 0.5, 1.0)}), **_placed(fields)}


def _binary(fields: Fields) -> dict[str, Any]:
    encoding, query = fields.take("encoding", str), fields.take("query_encoding", str)
    one_of(encoding or "one_bit", _ENCODINGS, f"{fields.where}.encoding")
    one_of(query or "default", _QUERY_ENCODINGS, f"{fields.where}.query_encoding")
    return {**_given({"encoding": encoding, "query_encoding": query}), **_placed(fields)}


def _placed(fields: Fields) -> dict[str, Any]:
    always_ram, memory = fields.take("always_ram", bool), fields.take("memory", str)
    one_of(memory or "cold", MEMORY, f"{fields.where}.memory")
    fields.done()
    return _given({"always_ram": always_ram, "memory": memory})


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def edge_quantization(shown: dict[str, Any] | None) -> Any:
    """The Qdrant Edge form of what `parse_quantization` gave."""
    if not shown:
        return None
    kind, params = next(iter(shown.items()))
    placed = {"always_ram": params.get("always_ram"), "memory": MEMORY.get(params.get("memory", ""))}
    if kind == "scalar":
        return edge.ScalarQuantizationConfig(edge.ScalarType.Int8, params.get("quantile"), **placed)
    return edge.BinaryQuantizationConfig(
        encoding=_ENCODINGS.get(params.get("encoding", "")),
        query_encoding=_QUERY_ENCODINGS.get(params.get("query_encoding", "")),
        **placed,
    )


def search_quantization(value: Any) -> Any:
    """`params.quantization` of a search."""
    if value is None:
        return None
    fields = Fields(value, "params.quantization")
    found = edge.QuantizationSearchParams(
        fields.take("ignore", bool, False),
        fields.take("rescore", bool),
        fields.number("oversampling", 1.0, _F32_MAX),
    )
    fields.done()
    return found
