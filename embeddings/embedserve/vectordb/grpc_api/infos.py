"""What a collection is made of, its aliases and snapshots, as REST shows them -> gRPC messages.

`fill` is the way back of `requests.plain`: by the descriptor, with a function of its own for what has another shape.
A key that the message has not is left out: REST shows a few more (a test compares the two field by field).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from embedserve.vectordb.grpc_api.replies import set_values
from embedserve.vectordb.grpc_api.requests import word_of
from embedserve.vectordb.grpc_api.stubs import pb
from embedserve.vectordb.vectors import is_one_vector


def fill(target: Any, shown: dict[str, Any]) -> None:
    """Set the message's fields from JSON; null leaves a field unset."""
    for name, item in shown.items():
        special = _SPECIAL.get((target.DESCRIPTOR.name, name))
        field = target.DESCRIPTOR.fields_by_name.get(name)
        if item is None:
            continue
        if special is not None:
            special(target, item)
        elif field is None:
            continue
        elif field.message_type is not None:
            getattr(target, name).SetInParent()
            fill(getattr(target, name), item)
        else:
            setattr(target, name, item if field.enum_type is None else _number(field.enum_type, item))


def _number(enum: Any, word: str) -> int:
    return next(int(v.number) for v in enum.values if (word_of(enum.name, v.name) or v.name.lower()) == word)


def _vectors(target: Any, vectors: dict[str, Any]) -> None:
    unnamed = is_one_vector(vectors)
    if unnamed:
        fill(target.vectors_config.params, vectors)
    for name, item in {} if unnamed else vectors.items():
        fill(target.vectors_config.params_map.map[name], item)


def _sparse_vectors(target: Any, vectors: dict[str, Any]) -> None:
    for name, item in vectors.items():
        entry = target.sparse_vectors_config.map[name]
        entry.SetInParent()
        fill(entry, item)


def _threads(target: Any, value: int) -> None:
    target.max_optimization_threads.value = value


def _status(target: Any, value: Any) -> None:
    target.optimizer_status.ok = value == "ok"
    if isinstance(value, dict):
        target.optimizer_status.error = value["error"]


def _turbo(target: Any, params: dict[str, Any]) -> None:
    target.turboquant.SetInParent()
    fill(target.turboquant, params)


def _schema(target: Any, fields: dict[str, Any]) -> None:
    for name, item in fields.items():
        fill(target.payload_schema[name], item)


def _index(target: Any, params: dict[str, Any]) -> None:
    chosen = getattr(target.params, f"{params['type']}_index_params")
    chosen.SetInParent()
    fill(chosen, {name: item for name, item in params.items() if name != "type"})


def _prefix(target: Any, value: bool) -> None:
    if value:
        target.prefix.SetInParent()


def _stopwords(target: Any, value: Any) -> None:
    words = {"languages": [value]} if isinstance(value, str) else value
    target.stopwords.languages.extend(words.get("languages") or [])
    target.stopwords.custom.extend(words.get("custom") or [])


def _stemmer(target: Any, value: dict[str, Any]) -> None:
    if value["type"] == "none":
        target.stemmer.disabled.SetInParent()
    else:
        target.stemmer.snowball.language = value["language"]


def _scoring(target: Any, value: Any) -> None:
    if value:
        target.scoring.SetInParent()  # BM25 is the only kind


_SPECIAL: dict[tuple[str, str], Callable[[Any, Any], None]] = {
    ("CollectionParams", "vectors"): _vectors,
    ("CollectionParams", "sparse_vectors"): _sparse_vectors,
    ("CollectionConfig", "metadata"): lambda target, value: set_values(target.metadata, value),
    ("OptimizersConfigDiff", "max_optimization_threads"): _threads,
    ("CollectionInfo", "optimizer_status"): _status,
    ("CollectionInfo", "payload_schema"): _schema,
    ("PayloadSchemaInfo", "params"): _index,
    ("KeywordIndexParams", "prefix"): _prefix,
    ("TextIndexParams", "stopwords"): _stopwords,
    ("QuantizationConfig", "turbo"): _turbo,
    ("TextIndexParams", "stemmer"): _stemmer,
    ("TextIndexParams", "scoring"): _scoring,
}


def info(result: Any) -> dict[str, Any]:
    shown = pb.CollectionInfo()
    fill(shown, result)
    return {"result": shown}


def names(result: Any) -> dict[str, Any]:
    return {"collections": [pb.CollectionDescription(name=item["name"]) for item in result["collections"]]}


def exists(result: Any) -> dict[str, Any]:
    return {"result": pb.CollectionExists(exists=result["exists"])}


def done(result: Any) -> dict[str, Any]:
    return {"result": result}


def aliases(result: Any) -> dict[str, Any]:
    return {"aliases": [pb.AliasDescription(**item) for item in result["aliases"]]}


def _snapshot(result: dict[str, Any]) -> Any:
    shown = pb.SnapshotDescription(name=result["name"], size=result["size"])
    if result["checksum"] is not None:
        shown.checksum = result["checksum"]
    shown.creation_time.FromDatetime(datetime.datetime.fromisoformat(result["creation_time"]))
    return shown


def snapshot(result: Any) -> dict[str, Any]:
    return {"snapshot_description": _snapshot(result)}


def snapshots(result: Any) -> dict[str, Any]:
    return {"snapshot_descriptions": [_snapshot(item) for item in result]}


def nothing(_result: Any) -> dict[str, Any]:
    return {}
