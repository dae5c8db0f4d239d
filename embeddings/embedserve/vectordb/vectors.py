"""Vectors: what a collection's points may carry, and JSON <-> Qdrant Edge, checked before anything is written.

A collection has dense vectors by name (the unnamed one is named ""), each of one size or a list of such (multivector),
and sparse vectors by name. `{"vector": [..]}` and `{"vector": {"": [..]}}` are the same thing. Vectors stay Python
lists (Edge reads them faster than numpy arrays) and are checked with `set(map(type, ..))`, `min` and `max`, in C.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import qdrant_edge as edge

from embedserve.vectordb import bm25
from embedserve.vectordb.body import Fields, describe, expect
from embedserve.vectordb.errors import format_error, unsupported, validation_error, wrong_input

F32_MAX = float(np.finfo(np.float32).max)
_INFERENCE = {"text", "image", "object", "model"}


@dataclass(frozen=True)
class Space:
    """The vectors of a collection. `sizes` of the dense ones; `multi` names those that are lists of vectors."""

    sizes: dict[str, int]
    multi: frozenset[str] = field(default_factory=frozenset)
    sparse: frozenset[str] = field(default_factory=frozenset)

    @property
    def names(self) -> set[str]:
        return {*self.sizes, *self.sparse}

    def check_name(self, name: str) -> None:
        if name not in self.sizes and name not in self.sparse:
            raise wrong_input(f"Not existing vector name error: {name}")


def dense_of(params: dict[str, Any]) -> dict[str, Any]:
    """{name: settings} of the dense vectors of `config.params` as GET shows it, which has the unnamed one bare."""
    vectors = params.get("vectors") or {}
    return {"": vectors} if is_one_vector(vectors) else vectors


def is_one_vector(vectors: dict[str, Any]) -> bool:
    """Whether it is the settings of the unnamed vector, not {name: settings} (a vector may be named "size")."""
    return any(name in vectors and not isinstance(vectors[name], dict) for name in ("size", "distance"))


def space_of(params: dict[str, Any]) -> Space:
    """Of `config.params` as GET shows it."""
    dense = dense_of(params)
    multi = frozenset(name for name, item in dense.items() if "multivector_config" in item)
    return Space(
        {name: item["size"] for name, item in dense.items()}, multi, frozenset(params.get("sparse_vectors") or {})
    )


def parse_vector(value: Any, size: int, where: str) -> list[float]:
    """`size` finite numbers that fit float32."""
    expect(value, list, where)
    if not set(map(type, value)) <= {float, int}:
        wrong = next(item for item in value if type(item) not in (float, int))
        raise format_error(f"{where}: expected numbers, got {describe(wrong)}")
    if len(value) != size:
        raise wrong_input(f"Vector dimension error: expected dim: {size}, got {len(value)}")
    if not (min(value) >= -F32_MAX and max(value) <= F32_MAX):
        raise format_error(f"{where}: a number is out of float32's range")
    return list(value)


def parse_sparse(value: Any, where: str) -> edge.SparseVector:
    """{"indices": [..], "values": [..]}: as many of each, indices unique; order does not matter."""
    fields = Fields(value, where)
    indices, values = fields.need("indices", list), fields.need("values", list)
    fields.done()
    if not set(map(type, indices)) <= {int} or (indices and not 0 <= min(indices) <= max(indices) < 1 << 32):
        raise format_error(f"{where}.indices: expected unsigned 32-bit integers")
    if len(indices) != len(values):
        raise validation_error(f"{where}: must be the same length as indices: {len(indices)} and {len(values)}")
    if len(set(indices)) != len(indices):
        raise validation_error(f"{where}.indices: must be unique")
    return edge.SparseVector(indices, parse_vector(values, len(indices), f"{where}.values") if values else [])


def parse_named(space: Space, name: str, value: Any, where: str, *, query: bool = False) -> Any:
    """The vector `name` in Qdrant Edge's form. query: of a search, where a text weighs otherwise than in a point."""
    space.check_name(name)
    if name in space.sparse:
        if not isinstance(value, dict):
            raise wrong_input(f"Conversion between sparse and regular vectors failed: `{name}` is sparse")
        if bm25.is_text(value):
            return bm25.sparse_of(value, where, query=query)
        if "model" in value:
            raise unsupported("inference of vectors from images or objects")
        return parse_sparse(value, where)
    if isinstance(value, dict):
        if not _INFERENCE.isdisjoint(value):
            raise unsupported("inference of vectors from text or images")
        raise wrong_input(f"Conversion between sparse and regular vectors failed: `{name}` is dense")
    size = space.sizes[name]
    rows = expect(value, list, where)
    if name in space.multi:
        if rows and not isinstance(rows[0], list):
            rows = [rows]
        if not rows:
            raise validation_error(f"{where}: a multivector must not be empty")
        return [parse_vector(row, size, f"{where}[{i}]") for i, row in enumerate(rows)]
    if rows and isinstance(rows[0], list):
        raise wrong_input(f"Conversion between multi and regular vectors failed: `{name}` is a single vector")
    return parse_vector(rows, size, where)


def parse_point_vectors(space: Space, value: Any, where: str) -> Any:
    """The `vector` of a point: of the unnamed one, or {name: vector}. A plain list where only "" is given."""
    if isinstance(value, list):
        return parse_named(space, "", value, where)
    if isinstance(value, dict) and not _INFERENCE.isdisjoint(value) and _INFERENCE.isdisjoint(space.names):
        raise unsupported("inference of vectors from text or images")
    named = {
        name: parse_named(space, name, item, f"{where}.{name}") for name, item in expect(value, dict, where).items()
    }
    return named[""] if named.keys() == {""} else named


def vectors_json(vector: Any) -> Any:
    """A record's vectors as Qdrant shows them."""
    if isinstance(vector, dict):
        return {name: vectors_json(item) for name, item in vector.items()}
    if isinstance(vector, edge.SparseVector):
        return {"indices": vector.indices, "values": np.asarray(vector.values, dtype=np.float32)}
    return np.asarray(vector, dtype=np.float32)  # printed with float32's digits
