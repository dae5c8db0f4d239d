"""Adding a named vector to a collection that is there, and removing one: new settings, and what the shard has to do."""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields
from embedserve.vectordb.errors import format_error, wrong_input
from embedserve.vectordb.schema import DATATYPES, DISTANCES, dense_params, edge_sparse, sparse_params
from embedserve.vectordb.vectors import dense_of, space_of

_SPACE_FIELDS = ("size", "distance", "multivector_config", "datatype", "modifier")


def with_vector(config: dict[str, Any], name: str, body: Any) -> dict[str, Any]:
    """The configuration with one named vector more; the same if it is there. ApiError 400: it is there and differs."""
    if not name:
        raise wrong_input("the new vector needs a name")
    fields = Fields(body, "body")
    dense, sparse = fields.take("dense", dict), fields.take("sparse", dict)
    fields.done()
    if (dense is None) == (sparse is None):
        raise format_error("body: expected either `dense` or `sparse`")
    known = config["params"].get("sparse_vectors", {}) if dense is None else dense_of(config["params"])
    item = _new_sparse(sparse) if dense is None else _new_dense(dense)
    if name in space_of(config["params"]).names:
        present = {field: known.get(name, {}).get(field) for field in _SPACE_FIELDS}
        if name not in known or present != {field: item.get(field) for field in _SPACE_FIELDS}:
            raise wrong_input(
                f"vector '{name}' already exists with different parameters; "
                "delete it before recreating with a different configuration"
            )
        return config
    return _with_params(config, "sparse_vectors" if dense is None else "vectors", known | {name: item})


def _new_dense(value: dict[str, Any]) -> dict[str, Any]:
    unknown = value.keys() - _SPACE_FIELDS
    if unknown:
        raise format_error(f"dense: unknown field `{min(unknown)}`, expected one of {', '.join(_SPACE_FIELDS[:4])}")
    return dense_params(value, "dense")


def _new_sparse(value: dict[str, Any]) -> dict[str, Any]:
    """REST has its `datatype` beside the modifier, a collection's settings have it in the index."""
    fields = Fields(value, "sparse")
    modifier, datatype = fields.take("modifier", str), fields.take("datatype", str)
    fields.done()
    index = None if datatype is None else {"datatype": datatype}
    made: dict[str, Any] = sparse_params({"": {"modifier": modifier, "index": index}})[""]
    return made


def without_vector(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The configuration without the named vector; the same if it is not there."""
    params = config["params"]
    if not name and dense_of(params).keys() == {""}:
        raise wrong_input("Cannot delete the unnamed vector when it is the only dense vector in the collection")
    if name in params.get("sparse_vectors", {}):
        return _with_params(config, "sparse_vectors", _but(params["sparse_vectors"], name))
    if name in dense_of(params):
        return _with_params(config, "vectors", _but(dense_of(params), name))
    return config


def _but(items: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: item for key, item in items.items() if key != name}


def _with_params(config: dict[str, Any], field: str, vectors: dict[str, Any]) -> dict[str, Any]:
    shown = vectors[""] if vectors.keys() == {""} else vectors
    params = {key: item for key, item in config["params"].items() if key != field}
    if shown or field == "vectors":  # GET shows `vectors` even when there is none
        params[field] = shown
    return config | {"params": params}


def vector_operations(before: dict[str, Any], after: dict[str, Any]) -> list[edge.UpdateOperation]:
    """What makes a shard with the vectors of the one `config.params` have those of the other."""
    old, new = _all_vectors(before), _all_vectors(after)
    gone = [edge.UpdateOperation.delete_vector_name(name) for name in old.keys() - new.keys()]
    return gone + [_creation(name, new[name]) for name in new.keys() - old.keys()]


def _all_vectors(params: dict[str, Any]) -> dict[str, Any]:
    return {**dense_of(params), **params.get("sparse_vectors", {})}


def _creation(name: str, item: dict[str, Any]) -> edge.UpdateOperation:
    if "size" not in item:
        sparse = edge_sparse(item)
        return edge.UpdateOperation.create_sparse_vector(name, sparse.modifier, sparse.datatype)
    multi = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if "multivector_config" in item else None
    datatype = DATATYPES.get(item.get("datatype", ""))
    return edge.UpdateOperation.create_dense_vector(name, item["size"], DISTANCES[item["distance"]], multi, datatype)
