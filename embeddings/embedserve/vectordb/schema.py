"""What a collection is made of: the bodies of PUT and PATCH /collections/{c}, JSON <-> Qdrant Edge.

The settings are kept as the JSON that `GET /collections/{c}` shows, with Qdrant's defaults filled in. Settings that
only concern how a server spreads or keeps data (replicas, WAL, on_disk) are accepted and shown; those that would
need a feature that is not here answer 501.
"""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields, expect, one_of
from embedserve.vectordb.errors import format_error, unsupported, validation_error, wrong_input
from embedserve.vectordb.payload_indexes import MEMORY
from embedserve.vectordb.quantization import edge_quantization, parse_quantization
from embedserve.vectordb.vectors import dense_of, is_one_vector

DISTANCES = {
    "Cosine": edge.Distance.Cosine,
    "Dot": edge.Distance.Dot,
    "Euclid": edge.Distance.Euclid,
    "Manhattan": edge.Distance.Manhattan,
}
# Qdrant's default is 10,000 KB. Exact search over 50,000 x 768 (150 MB) takes 10 to 20 ms here, while building its
# graph with the clients' m=64, ef_construct=512 takes minutes of all cores: it pays only with more data, or when
# the collection's own `optimizers_config.indexing_threshold` says so.
INDEXING_THRESHOLD_KB = 300_000
SEARCH_THREADS = 4
DATATYPES = {
    "float32": edge.VectorStorageDatatype.Float32,
    "float16": edge.VectorStorageDatatype.Float16,
    "uint8": edge.VectorStorageDatatype.Uint8,
}
_HNSW_DEFAULTS: dict[str, Any] = {
    "m": 16,
    "ef_construct": 100,
    "full_scan_threshold": 10000,
    "max_indexing_threads": 0,
    "on_disk": False,
    "payload_m": None,
    "inline_storage": None,
    "memory": None,
}
_OPTIMIZER_DEFAULTS: dict[str, Any] = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": INDEXING_THRESHOLD_KB,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
    "prevent_unoptimized": None,
}
_WAL_DEFAULTS: dict[str, Any] = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}
_BOOLEANS = {"on_disk", "inline_storage", "prevent_unoptimized"}
_LEAST = {"ef_construct": 4, "full_scan_threshold": 10, "vacuum_min_vector_number": 100, "wal_capacity_mb": 1}
_CLUSTER = ("shard_number", "replication_factor", "write_consistency_factor")
_READ_FAN = ("read_fan_out_factor", "read_fan_out_delay_ms")


def parse_collection(body: Any) -> dict[str, Any]:
    """The stored configuration of a new collection, in the shape of `config` in GET /collections/{c}."""
    fields = Fields(body, "body")
    fields.refuse(
        strict_mode_config="strict mode",
        init_from="initialisation from another collection",
        id_tracker="placement of the id tracker",
    )
    if fields.take("sharding_method", str, "auto") != "auto":
        raise unsupported("custom sharding (`sharding_method`)")
    vectors, sparse = _vectors(fields.take("vectors")), sparse_params(fields.take("sparse_vectors"))
    if not vectors and not sparse:
        raise format_error("body: missing field `vectors`")
    params: dict[str, Any] = {"vectors": vectors}
    if sparse:
        params["sparse_vectors"] = sparse
    params |= _cluster(fields, dict.fromkeys(_CLUSTER, 1))
    params |= _payload_storage(fields, True)
    hnsw = _numbers(fields.take("hnsw_config"), "hnsw_config", _HNSW_DEFAULTS)
    optimizer = _numbers(fields.take("optimizers_config"), "optimizers_config", _OPTIMIZER_DEFAULTS)
    config = {
        "params": params,
        "hnsw_config": {name: item for name, item in _HNSW_DEFAULTS.items() if name != "memory"} | hnsw,
        "optimizer_config": _OPTIMIZER_DEFAULTS | optimizer,
        "wal_config": _WAL_DEFAULTS | _numbers(fields.take("wal_config"), "wal_config", _WAL_DEFAULTS),
        "quantization_config": parse_quantization(fields.take("quantization_config"), "quantization_config"),
    }
    metadata = fields.take("metadata", dict)
    if metadata is not None:
        config["metadata"] = metadata
    fields.done()
    return config


def patch_collection(config: dict[str, Any], body: Any) -> dict[str, Any]:
    """The configuration with the changes of PATCH /collections/{c}; the given one stays as it is."""
    fields = Fields(body, "body")
    fields.refuse(quantization_config="quantization of a collection that is there", strict_mode_config="strict mode")
    new = dict(config)
    hnsw = _numbers(fields.take("hnsw_config"), "hnsw_config", _HNSW_DEFAULTS)
    optimizer = _numbers(fields.take("optimizers_config"), "optimizers_config", _OPTIMIZER_DEFAULTS)
    new["hnsw_config"] = config["hnsw_config"] | hnsw
    new["optimizer_config"] = config["optimizer_config"] | optimizer
    params = Fields(fields.take("params", dict, {}), "params")
    params.refuse(id_tracker="placement of the id tracker")
    changed = _cluster(params, {}) | _payload_storage(params, None)
    changed |= {name: params.count(name) for name in _READ_FAN}
    params.done()
    new["params"] = config["params"] | {name: item for name, item in changed.items() if item is not None}
    new["params"] |= _patched_vectors(new["params"], fields.take("vectors", dict, {}))
    sparse = sparse_params(fields.take("sparse_vectors"))
    for name, item in sparse.items():
        known = new["params"].get("sparse_vectors", {})
        if name not in known:
            raise wrong_input(f"Not existing vector name error: {name}")
        new["params"]["sparse_vectors"] = known | {name: known[name] | item}
    metadata = fields.take("metadata", dict)
    if metadata is not None:
        merged = config.get("metadata", {}) | metadata
        new["metadata"] = {name: item for name, item in merged.items() if item is not None}
    fields.done()
    return new


def _patched_vectors(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    unnamed = is_one_vector(params["vectors"])
    known = dict(dense_of(params))
    for name, change in changes.items():
        if name not in known:
            raise wrong_input(f"Not existing vector name error: {name}")
        fields = Fields(change, f"vectors.{name}")
        fields.refuse(quantization_config="quantization of a collection that is there")
        known[name] = known[name] | _placement(fields)
        fields.done()
    return {"vectors": known[""] if unnamed else known}


def _cluster(fields: Fields, defaults: dict[str, Any]) -> dict[str, Any]:
    found = {name: fields.count(name, minimum=1) for name in _CLUSTER if name in fields or name in defaults}
    for name, value in found.items():
        if value not in (None, 1):
            raise unsupported(f"cluster (`{name}` over 1)")
    return dict.fromkeys(found, 1)


def _payload_storage(fields: Fields, default: bool | None) -> dict[str, Any]:
    found = {"on_disk_payload": fields.take("on_disk_payload", bool, default)}
    payload = fields.take("payload")
    if payload is not None:
        inner = Fields(payload, "payload")
        memory = inner.take("memory", str)
        inner.done()
        if memory is not None:
            one_of(memory, MEMORY, "payload.memory")
            found["payload"] = {"memory": memory}
    return found


def _numbers(value: Any, where: str, known: dict[str, Any]) -> dict[str, Any]:
    """The given ones of a block of optional numbers and flags."""
    if value is None:
        return {}
    fields = Fields(value, where)
    given: dict[str, Any] = {}
    for name in known:
        if name in _BOOLEANS:
            given[name] = fields.take(name, bool)
        elif name == "memory":
            given[name] = fields.take(name, str)
            one_of(given[name] or "cold", MEMORY, f"{where}.memory")
        elif name == "deleted_threshold":
            given[name] = fields.number(name, 0.0, 1.0)
        elif name == "max_optimization_threads" and fields.take(name) == "auto":
            continue
        else:
            given[name] = fields.count(name, minimum=_LEAST.get(name, 0))
    fields.done()
    if given.get("prevent_unoptimized"):
        raise unsupported("hiding of points that are not indexed yet (`prevent_unoptimized`)")
    return {name: item for name, item in given.items() if item is not None}


def _vectors(value: Any) -> dict[str, Any]:
    """One {size, distance}, or {name: {size, distance}}; {"": ..} alone is the unnamed one."""
    if value is None:
        return {}
    expect(value, dict, "vectors")
    if is_one_vector(value):
        return dense_params(value, "vectors")
    named = {name: dense_params(item, f"vectors.{name}") for name, item in value.items()}
    return named[""] if named.keys() == {""} else named


def dense_params(value: Any, where: str) -> dict[str, Any]:
    """The settings of one dense vector."""
    fields = Fields(value, where)
    quantization = parse_quantization(fields.take("quantization_config"), f"{where}.quantization_config")
    size = fields.need("size", int)
    if not 1 <= size <= 65536:
        raise validation_error(f"{where}.size: value {size} invalid, must be from 1 to 65536")
    distance = fields.need("distance", str)
    one_of(distance, DISTANCES, f"{where}.distance")
    vector: dict[str, Any] = {"size": size, "distance": distance} | _placement(fields)
    if quantization is not None:
        vector["quantization_config"] = quantization
    datatype = fields.take("datatype", str)
    if datatype is not None:
        one_of(datatype, DATATYPES, f"{where}.datatype")
        vector["datatype"] = datatype
    multi = fields.take("multivector_config")
    if multi is not None:
        inner = Fields(multi, f"{where}.multivector_config")
        one_of(inner.need("comparator", str), {"max_sim": None}, f"{inner.where}.comparator")
        inner.done()
        vector["multivector_config"] = {"comparator": "max_sim"}
    fields.done()
    return vector


def _placement(fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    hnsw = _numbers(fields.take("hnsw_config"), f"{fields.where}.hnsw_config", _HNSW_DEFAULTS)
    if hnsw:
        found["hnsw_config"] = hnsw
    on_disk, memory = fields.take("on_disk", bool), fields.take("memory", str)
    if on_disk is not None:
        found["on_disk"] = on_disk
    if memory is not None:
        one_of(memory, MEMORY, f"{fields.where}.memory")
        found["memory"] = memory
    return found


def sparse_params(value: Any) -> dict[str, Any]:
    """{name: settings} of sparse vectors."""
    if value is None:
        return {}
    found: dict[str, Any] = {}
    for name, item in expect(value, dict, "sparse_vectors").items():
        where = f"sparse_vectors.{name}"
        fields = Fields(item, where)
        modifier, index = fields.take("modifier", str), fields.take("index")
        fields.done()
        found[name] = {}
        if modifier is not None:
            one_of(modifier, {"none": None, "idf": None}, f"{where}.modifier")
            found[name]["modifier"] = modifier
        if index is not None:
            found[name]["index"] = _sparse_index(index, f"{where}.index")
    return found


def _sparse_index(value: Any, where: str) -> dict[str, Any]:
    fields = Fields(value, where)
    given = {
        "full_scan_threshold": fields.count("full_scan_threshold"),
        "on_disk": fields.take("on_disk", bool),
        "memory": fields.take("memory", str),
        "datatype": fields.take("datatype", str),
    }
    fields.done()
    one_of(given["memory"] or "cold", MEMORY, f"{where}.memory")
    one_of(given["datatype"] or "float32", DATATYPES, f"{where}.datatype")
    return {name: item for name, item in given.items() if item is not None}


def edge_config(config: dict[str, Any]) -> edge.EdgeConfig:
    """The Qdrant Edge form of a stored configuration."""
    params, optimizer = config["params"], config["optimizer_config"]
    return edge.EdgeConfig(
        vectors={name: _edge_vector(item, config) for name, item in dense_of(params).items()},
        sparse_vectors={name: edge_sparse(item) for name, item in params.get("sparse_vectors", {}).items()},
        on_disk_payload=params["on_disk_payload"],
        payload_memory=MEMORY.get(params.get("payload", {}).get("memory", "")),
        hnsw_config=_edge_hnsw(config["hnsw_config"]),
        optimizers=edge.EdgeOptimizersConfig(
            deleted_threshold=optimizer["deleted_threshold"],
            vacuum_min_vector_number=optimizer["vacuum_min_vector_number"],
            default_segment_number=optimizer["default_segment_number"],
            max_segment_size=optimizer["max_segment_size"],
            indexing_threshold=optimizer["indexing_threshold"],
        ),
        max_search_threads=SEARCH_THREADS,
    )


def _edge_hnsw(hnsw: dict[str, Any]) -> edge.HnswIndexConfig:
    return edge.HnswIndexConfig(**hnsw | {"memory": MEMORY.get(hnsw.get("memory", ""))})


def _edge_vector(vector: dict[str, Any], config: dict[str, Any]) -> edge.EdgeVectorParams:
    hnsw = config["hnsw_config"]
    multi = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if "multivector_config" in vector else None
    return edge.EdgeVectorParams(
        size=vector["size"],
        distance=DISTANCES[vector["distance"]],
        on_disk=vector.get("on_disk"),
        multivector_config=multi,
        datatype=DATATYPES.get(vector.get("datatype", "")),
        quantization_config=edge_quantization(vector.get("quantization_config") or config.get("quantization_config")),
        hnsw_config=_edge_hnsw(hnsw | vector["hnsw_config"]) if "hnsw_config" in vector else None,
        memory=MEMORY.get(vector.get("memory", "")),
    )


def edge_sparse(sparse: dict[str, Any]) -> edge.EdgeSparseVectorParams:
    """The Qdrant Edge form of one sparse vector's settings."""
    index = sparse.get("index", {})
    return edge.EdgeSparseVectorParams(
        full_scan_threshold=index.get("full_scan_threshold"),
        on_disk=index.get("on_disk"),
        modifier=edge.Modifier.Idf if sparse.get("modifier") == "idf" else None,
        datatype=DATATYPES.get(index.get("datatype", "")),
        memory=MEMORY.get(index.get("memory", "")),
    )
