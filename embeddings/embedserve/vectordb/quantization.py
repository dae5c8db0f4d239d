"""Quantised vectors, JSON <-> Qdrant Edge: `quantization_config` of a collection, `params.quantization` of a search.

Qdrant Edge makes them when it builds the index; before that, and for new points, a search reads the originals. All four
kinds are here: scalar, binary, product, turbo.
"""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields, one_of
from embedserve.vectordb.errors import format_error
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


_COMPRESSIONS = {name.lower(): getattr(edge.CompressionRatio, name) for name in ("X4", "X8", "X16", "X32", "X64")}
_BITS = {f"bits{size}": getattr(edge.TurboQuantBitSize, f"Bits{size}") for size in ("1", "1_5", "2", "4", "8")}


def parse_quantization(value: Any, where: str) -> dict[str, Any] | None:
    """As GET shows it; None where nothing is quantised."""
    if value is None:
        return None
    fields = Fields(value, where)
    given = {kind: params for kind in _KINDS if (params := fields.take(kind, dict)) is not None}
    fields.done()
    if len(given) != 1:
        raise format_error(f"{where}: expected one of {', '.join(_KINDS)}")
    ((kind, params),) = given.items()
    return {kind: _KINDS[kind](Fields(params, f"{where}.{kind}"))}


def _scalar(fields: Fields) -> dict[str, Any]:
    one_of(fields.need("type", str), {"int8": None}, f"{fields.where}.type")
    return {"type": "int8", **_given({"quantile": fields.number("quantile", 0.5, 1.0)}), **_placed(fields)}


def _binary(fields: Fields) -> dict[str, Any]:
    encoding, query = fields.take("encoding", str), fields.take("query_encoding", str)
    one_of(encoding or "one_bit", _ENCODINGS, f"{fields.where}.encoding")
    one_of(query or "default", _QUERY_ENCODINGS, f"{fields.where}.query_encoding")
    return {**_given({"encoding": encoding, "query_encoding": query}), **_placed(fields)}


def _product(fields: Fields) -> dict[str, Any]:
    compression = fields.need("compression", str)
    one_of(compression, _COMPRESSIONS, f"{fields.where}.compression")
    return {"compression": compression, **_placed(fields)}


def _turbo(fields: Fields) -> dict[str, Any]:
    bits = fields.take("bits", str)
    one_of(bits or "bits1", _BITS, f"{fields.where}.bits")
    return {**_given({"bits": bits}), **_placed(fields)}


_KINDS = {"scalar": _scalar, "binary": _binary, "product": _product, "turbo": _turbo}


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
    if kind == "product":
        return edge.ProductQuantizationConfig(_COMPRESSIONS[params["compression"]], **placed)
    if kind == "turbo":
        return edge.TurboQuantQuantizationConfig(bits=_BITS.get(params.get("bits", "")), **placed)
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
