"""Makes the collection that many repositories share, as the server can have it.

    every Qdrant          cosine vectors, quantised in memory and originals on disk; payload indexes, the one of
                          `repository` as the tenant's, so that a repository's points lie together and have a graph
    a cluster             shard keys (each repository has one), replicas, writes that a majority confirms
    a single node         no shard keys, one replica: asked for, they are left out, and said so

The server says what it is (`GET /cluster`). Three processes that know nothing of each other are three single nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embedserve.errors import IndexingFailed
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.rest import Refused, collection_path
from embedserve.indexing.shared import FIELD, METADATA, in_collection, layout_of
from embedserve.indexing.sizing import M

EF_CONSTRUCT = 128
IN_MEMORY = ("type", "record", "language")
ON_DISK = ("path", "paths", "digest", "defines")  # as large as the texts' own number; asked for by exact value


@dataclass(frozen=True)
class Wanted:
    """`quantization`: "", "scalar" or "binary". `shards`, `replicas`: of a cluster."""

    name: str
    model: str
    dimension: int
    quantization: str = "scalar"
    shards: int = 1
    replicas: int = 1


@dataclass(frozen=True)
class Server:
    """`peers`: nodes of the cluster, 0 for a server that is none."""

    peers: int = 0


async def server(qdrant: Qdrant) -> Server:
    """What the server says of itself. Raises IndexingFailed."""
    try:
        told = await qdrant.call("GET", "/cluster")
    except Refused as error:
        if error.status != 404:
            raise
        return Server()
    return Server(len(told.get("peers") or {}) if told.get("status") == "enabled" else 0)


def notes(wanted: Wanted, server: Server, nodes: int) -> list[str]:
    """Sentences on what was asked for and is not to be had from this server. `nodes`: that the sizing asks for."""
    if not server.peers:
        single = "a single node, not a cluster: no shard keys, one replica"
        return [f"{single}; what is asked for needs {nodes} nodes" if nodes > 1 else single]
    found = []
    if wanted.replicas > server.peers:
        found.append(f"{wanted.replicas} replicas need as many nodes: with {server.peers} there are {server.peers}")
    if nodes > server.peers:
        found.append(f"the cluster has {server.peers} nodes, and what is asked for needs {nodes}")
    return found


def shard_keys(asked: int | None, sized: int, server: Server) -> int:
    """How many: as asked, else by the sizing, and two a node at least, so that a node that is added can take one."""
    return asked or max(sized, 2 * server.peers)


def body_of(wanted: Wanted, server: Server) -> dict[str, Any]:
    """The body of PUT /collections/{name}."""
    kinds: dict[str, dict[str, Any]] = {
        "": {},
        "scalar": {"quantization_config": {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}}},
        "binary": {"quantization_config": {"binary": {"always_ram": True}}},
    }
    quantization = kinds[wanted.quantization]
    told = {"model": wanted.model, "quantization": wanted.quantization, "shard_keys": _shard_keys(wanted, server)}
    body: dict[str, Any] = {
        "vectors": {"size": wanted.dimension, "distance": "Cosine", "on_disk": bool(quantization)},
        "hnsw_config": {"m": M, "payload_m": M, "ef_construct": EF_CONSTRUCT, "on_disk": False},
        "on_disk_payload": True,
        "metadata": {METADATA: told},
        **quantization,
    }
    if server.peers:
        replicas = min(wanted.replicas, server.peers)
        body |= {
            "sharding_method": "custom",
            "shard_number": 1,  # of each key
            "replication_factor": replicas,
            "write_consistency_factor": replicas // 2 + 1,
        }
    return body


def index_bodies() -> list[dict[str, Any]]:
    """The bodies of PUT /collections/{name}/index."""
    tenant = {"field_name": FIELD, "field_schema": {"type": "keyword", "is_tenant": True}}
    plain = [{"field_name": name, "field_schema": "keyword"} for name in IN_MEMORY]
    rest = [{"field_name": name, "field_schema": {"type": "keyword", "on_disk": True}} for name in ON_DISK]
    return [tenant, *plain, *rest]


async def create(qdrant: Qdrant, wanted: Wanted, server: Server) -> None:
    """Make it. What fails on the way leaves nothing. Raises IndexingFailed."""
    if await in_collection(qdrant, wanted.name):
        raise IndexingFailed(f"Qdrant at {qdrant.url} has a collection {wanted.name} already; it was left as it is")
    await qdrant.write("PUT", collection_path(wanted.name), body_of(wanted, server))
    try:
        if layout_of(await qdrant.call("GET", collection_path(wanted.name))) is None:
            raise IndexingFailed(
                f"Qdrant at {qdrant.url} keeps no metadata of a collection, so it is older than 1.16; update it"
            )
        for number in range(_shard_keys(wanted, server)):
            await qdrant.call("PUT", collection_path(wanted.name, "/shards"), {"shard_key": f"k{number}"})
        for body in index_bodies():
            await qdrant.write("PUT", collection_path(wanted.name, "/index?wait=true"), body)
    except BaseException:
        await qdrant.write("DELETE", collection_path(wanted.name))
        raise


def _shard_keys(wanted: Wanted, server: Server) -> int:
    return max(1, wanted.shards) if server.peers else 0
