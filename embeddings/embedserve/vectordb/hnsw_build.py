"""Builds the HNSW index of a shard in a process of its own, on a copy that nobody else has open.

`EdgeShard.optimize()` holds Python's global lock for its whole run, seconds to minutes; in the server it would stop
every answer, health checks included. The child runs at the lowest priority and, on Linux, dies with its parent. It
knows nothing of collections: it is given a folder and settings, makes it better and says whether it did.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

_CHANGED, _UNCHANGED = 0, 3


async def build(shard: Path, config: dict[str, Any]) -> bool:
    """Optimise the shard in the folder by a collection's settings; False if there was nothing to do.

    RuntimeError with the child's last words.

    Cancelling kills the child and waits for its end, so that the folder can be deleted afterwards.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "embedserve.vectordb.hnsw_build",
        str(shard),
        json.dumps(config),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, stderr = await child.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        raise
    if child.returncode not in (_CHANGED, _UNCHANGED):
        last = (stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"building the index ended with status {child.returncode}: {last}")
    return child.returncode == _CHANGED


def _die_with_parent(parent: int) -> None:
    """Nobody would use the result. optimize() lets no Python code run, so the kernel has to do it."""
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_pdeathsig, sigkill = 1, 9
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, sigkill)
    if os.getppid() != parent:
        os._exit(1)


def main(shard: str, config: str) -> int:
    _die_with_parent(os.getppid())
    with contextlib.suppress(OSError):
        os.nice(19)
    import qdrant_edge as edge

    from embedserve.vectordb.schema import edge_config

    opened = edge.EdgeShard.load(shard, edge_config(json.loads(config)))
    changed = opened.optimize()
    opened.flush()
    opened.close()
    return _CHANGED if changed else _UNCHANGED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
