"""What a collection is made of: the body of PUT /collections/{c} and payload index schemas, JSON <-> Qdrant Edge.

The settings are kept as the JSON that `GET /collections/{c}` shows, with Qdrant's defaults filled in. Settings that
only concern how a server spreads or keeps data (replicas, WAL, on_disk) are accepted and shown; those that would
need a feature that is not here answer 501.
"""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields, expect
from embedserve.vectordb.errors import format_error, unsupported, validation_error

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


def parse_collection(body: Any) -> dict[str, Any]:
    """The stored configuration of a new collection, in the shape of `config` in GET /collections/{c}."""
    fields = Fields(body, "body")
    fields.refuse(
        sparse_vectors="sparse vectors",
        quantization_config="quantization",
        sharding_method="custom sharding",
        strict_mode_config="strict mode",
        init_from="initialisation from another collection",
    )
    vectors = _vectors(fields.need("vectors"))
    params: dict[str, Any] = {"vectors": vectors}
    for name in ("shard_number", "replication_factor", "write_consistency_factor"):
        if fields.count(name, 1, minimum=1) != 1:
            raise unsupported(f"cluster (`{name}` over 1)")
        params[name] = 1
    params["on_disk_payload"] = fields.take("on_disk_payload", bool, True)
    config = {
        "params": params,
        "hnsw_config": _HNSW_DEFAULTS | _numbers(fields.take("hnsw_config"), "hnsw_config", _HNSW_DEFAULTS),
        "optimizer_config": _OPTIMIZER_DEFAULTS
        | _numbers(fields.take("optimizers_config"), "optimizers_config", _OPTIMIZER_DEFAULTS),
        "wal_config": _WAL_DEFAULTS | _numbers(fields.take("wal_config"), "wal_config", _WAL_DEFAULTS),
        "quantization_config": None,
    }
    metadata = fields.take("metadata", dict)
    if metadata is not None:
        config["metadata"] = metadata
    fields.done()
    return config


_HNSW_DEFAULTS: dict[str, Any] = {
    "m": 16,
    "ef_construct": 100,
    "full_scan_threshold": 10000,
    "max_indexing_threads": 0,
    "on_disk": False,
    "payload_m": None,
    "inline_storage": None,
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


def _numbers(value: Any, where: str, known: dict[str, Any]) -> dict[str, Any]:
    """The given ones of a block of optional numbers and flags."""
    if value is None:
        return {}
    fields = Fields(value, where)
    given: dict[str, Any] = {}
    for name in known:
        if name in _BOOLEANS:
            given[name] = fields.take(name, bool)
        elif name == "deleted_threshold":
            given[name] = fields.take(name, float)
            if given[name] is not None and not 0 <= given[name] <= 1:
                raise validation_error(f"{where}.{name}: value {given[name]} invalid, must be from 0.0 to 1.0")
        elif name == "max_optimization_threads" and fields.take(name) == "auto":
            continue
        else:
            given[name] = fields.count(name, minimum=_LEAST.get(name, 0))
    fields.done()
    if given.get("prevent_unoptimized"):
        raise unsupported("hiding of points that are not indexed yet (`prevent_unoptimized`)")
    return {name: item for name, item in given.items() if item is not None}


def _vectors(value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and "size" not in value and "distance" not in value:
        raise unsupported("named vectors (`vectors` must be one {size, distance})")
    fields = Fields(value, "vectors")
    fields.refuse(multivector_config="multivectors", quantization_config="quantization")
    size = fields.need("size", int)
    if not 1 <= size <= 65536:
        raise validation_error(f"vectors.size: value {size} invalid, must be from 1 to 65536")
    distance = fields.need("distance", str)
    if distance not in DISTANCES:
        raise format_error(f"vectors.distance: unknown variant, expected one of {', '.join(DISTANCES)}")
    if fields.take("datatype", str, "float32") != "float32":
        raise unsupported("vector datatypes but float32 (`datatype`)")
    vectors: dict[str, Any] = {"size": size, "distance": distance}
    hnsw = _numbers(fields.take("hnsw_config"), "vectors.hnsw_config", _HNSW_DEFAULTS)
    if hnsw:
        vectors["hnsw_config"] = hnsw
    on_disk = fields.take("on_disk", bool)
    if on_disk is not None:
        vectors["on_disk"] = on_disk
    fields.done()
    return vectors


def edge_config(config: dict[str, Any]) -> edge.EdgeConfig:
    """The Qdrant Edge form of a stored configuration."""
    vectors = config["params"]["vectors"]
    hnsw = config["hnsw_config"] | vectors.get("hnsw_config", {})
    optimizer = config["optimizer_config"]
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(
            size=vectors["size"], distance=DISTANCES[vectors["distance"]], on_disk=vectors.get("on_disk")
        ),
        on_disk_payload=config["params"]["on_disk_payload"],
        hnsw_config=edge.HnswIndexConfig(**hnsw),
        optimizers=edge.EdgeOptimizersConfig(
            deleted_threshold=optimizer["deleted_threshold"],
            vacuum_min_vector_number=optimizer["vacuum_min_vector_number"],
            default_segment_number=optimizer["default_segment_number"],
            max_segment_size=optimizer["max_segment_size"],
            indexing_threshold=optimizer["indexing_threshold"],
        ),
        max_search_threads=SEARCH_THREADS,
    )


_FLAGS = {
    "keyword": (edge.KeywordIndexParams, ("is_tenant", "on_disk")),
    "integer": (edge.IntegerIndexParams, ("lookup", "range", "is_principal", "on_disk")),
    "float": (edge.FloatIndexParams, ("is_principal", "on_disk")),
    "datetime": (edge.DatetimeIndexParams, ("is_principal", "on_disk")),
    "bool": (edge.BoolIndexParams, ("on_disk",)),
    "uuid": (edge.UuidIndexParams, ("is_tenant", "on_disk")),
    "geo": (edge.GeoIndexParams, ("on_disk",)),
}
_TOKENIZERS = {
    "prefix": edge.TokenizerType.Prefix,
    "whitespace": edge.TokenizerType.Whitespace,
    "word": edge.TokenizerType.Word,
    "multilingual": edge.TokenizerType.Multilingual,
}


def parse_index(value: Any) -> tuple[dict[str, Any], Any]:
    """A `field_schema`, as ({"data_type", "params"?} for GET, parameters for Qdrant Edge)."""
    plain = isinstance(value, str)
    fields = Fields({"type": value} if plain else value, "field_schema")
    kind = fields.need("type", str)
    if kind == "text":
        params: dict[str, Any] = {
            "tokenizer": fields.take("tokenizer", str, "word"),
            "min_token_len": fields.count("min_token_len"),
            "max_token_len": fields.count("max_token_len"),
            "lowercase": fields.take("lowercase", bool),
            "on_disk": fields.take("on_disk", bool),
        }
        fields.refuse(stopwords="stop words", stemmer="stemming", phrase_matching="phrase matching")
        if params["tokenizer"] not in _TOKENIZERS:
            raise format_error(f"field_schema.tokenizer: expected one of {', '.join(_TOKENIZERS)}")
        native = edge.TextIndexParams(**params | {"tokenizer": _TOKENIZERS[params["tokenizer"]]})
    elif kind in _FLAGS:
        cls, names = _FLAGS[kind]
        params = {name: fields.take(name, bool) for name in names}
        native = cls(**params)
    else:
        raise format_error(f"field_schema: unknown type, expected one of {', '.join([*_FLAGS, 'text'])}")
    fields.done()
    shown: dict[str, Any] = {"data_type": kind}
    if not plain:
        shown["params"] = {"type": kind} | {n: v for n, v in params.items() if v is not None}
    return shown, native


def index_from_shown(shown: dict[str, Any]) -> Any:
    """The Qdrant Edge parameters of an index as GET shows it."""
    return parse_index(expect(shown.get("params", shown["data_type"]), dict if "params" in shown else str, "schema"))[1]
