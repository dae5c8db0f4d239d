"""What a shared collection needs: memory, disk, nodes. Arithmetic on the number of chunks; it knows no Qdrant.

Bytes a point, for a dimension d and a graph with m links:

    in memory   vectors 4 d (none), d (scalar: int8) or d/8 (binary), scored again from the originals on disk;
                graph 2 m links of 4 bytes, twice: the collection's, and the repositories' own (payload_m = m);
                ids and versions 40; payload indexes in memory 64
    on disk     the originals 4 d, what is in memory, the payload, payload indexes on disk 400;
                all times 1.5: Qdrant writes a segment anew before it drops the old one

Payload and indexes are measured (scripts/bench/unit_costs.py; Python's library: 853 bytes of JSON a chunk, 640 of them
on disk). A shard takes about 0.15 GB at once, which small collections notice and this leaves out. Nodes are filled to
80 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

M = 16
PAYLOAD_BYTES = 900  # of a chunk as stored: its text, paths, names
INDEX_BYTES = 400  # of the indexes of path, paths and digest
FILL = 0.8
CHUNKS_A_SHARD = 20_000_000
VECTOR_BYTES = {"": 4.0, "scalar": 1.0, "binary": 0.125}  # of a dimension, in memory


@dataclass(frozen=True)
class Need:
    """`quantization`: "", "scalar" or "binary". `node_ram`, `node_disk`: bytes of one node."""

    repositories: int
    chunks: int
    dimension: int
    quantization: str = "scalar"
    replicas: int = 1
    node_ram: int = 64 << 30
    node_disk: int = 1 << 40


@dataclass(frozen=True)
class Sizing:
    """Bytes of the whole collection, its replicas included."""

    ram: int
    disk: int
    nodes: int
    shards: int

    @property
    def cost(self) -> str:
        """Of a month, as a formula over the prices of a gigabyte."""
        return f"{shown_bytes(self.ram)} x price of RAM + {shown_bytes(self.disk)} x price of disk"


def shown_bytes(count: int) -> str:
    """In GB, small ones in MB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{math.ceil(count / 1e6)} MB"


def sizing(need: Need) -> Sizing:
    """The memory, disk, nodes and shards for `need`."""
    points = need.chunks + need.repositories  # each repository has a marker
    ram = math.ceil(points * ram_bytes(need.dimension, need.quantization)) * need.replicas
    disk = math.ceil(points * disk_bytes(need.dimension, need.quantization)) * need.replicas
    by_size = max(math.ceil(ram / (need.node_ram * FILL)), math.ceil(disk / (need.node_disk * FILL)))
    nodes = max(1, need.replicas, by_size)
    return Sizing(ram, disk, nodes, max(nodes, math.ceil(need.chunks / CHUNKS_A_SHARD)))


def ram_bytes(dimension: int, quantization: str) -> float:
    """Of a point, in memory."""
    return dimension * VECTOR_BYTES[quantization] + 2 * (2 * M * 4) + 40 + 64


def disk_bytes(dimension: int, quantization: str) -> float:
    """Of a point, on disk."""
    originals = 4.0 * dimension if quantization else 0.0  # without quantisation they are what is in memory
    return 1.5 * (originals + ram_bytes(dimension, quantization) + PAYLOAD_BYTES + INDEX_BYTES)
