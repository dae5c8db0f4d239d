"""How much memory this process may use, and giving back what it no longer needs.

The limit is the least of EMBEDDING_MEMORY_LIMIT, the cgroup's (v2 or v1, the whole path up) and the RAM.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import sys
from pathlib import Path

import psutil

from embedserve.machine import cgroup

_UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a number close to 2**63


def cgroup_limit(root: Path = Path("/")) -> int | None:
    """The memory limit of this process's cgroup in bytes, the least on the way up; None without one."""
    return min(
        cgroup.limits(root, "memory", ("memory",), v2=_reader("memory.max"), v1=_reader("memory.limit_in_bytes")),
        default=None,
    )


def _reader(name: str) -> cgroup.Read[int]:
    def read(folder: Path) -> int | None:
        text = (folder / name).read_text().strip()
        return int(text) if text != "max" and 0 < int(text) < _UNLIMITED else None

    return read


def usable_memory(limit: int = 0) -> int:
    """Bytes this process may really use."""
    return min(x for x in (limit, cgroup_limit(), psutil.virtual_memory().total) if x)


def trim() -> None:
    """Give freed heap pages back to the system (glibc only)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has no malloc_trim
            ctypes.CDLL("libc.so.6").malloc_trim(0)


_MADV_DONTNEED = 4  # <bits/mman-linux.h>
# proc(5). Read only: what is mapped privately and was written to would be lost.
_MAP = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r-[-x][sp] \S+ \S+ \S+ +(.*)$")


def drop_mapped(file: Path) -> None:
    """Take a file's mapped pages out of this process (Linux only). Whoever reads one again gets it from the page cache.

    A runtime that has made its own copy of the weights (packed for its kernels) reads few pages of the file again.
    """
    if sys.platform != "linux":
        return
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    wanted = str(file.resolve())
    with contextlib.suppress(OSError), open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            found = _MAP.match(line)
            if found and found[3] == wanted:
                start, end = int(found[1], 16), int(found[2], 16)
                madvise(start, end - start, _MADV_DONTNEED)


def collect_and_freeze() -> None:
    """After a model was loaded or dropped: collect for real, then move what lives out of the collector's sight.

    A later gc.collect() then looks at a request's few objects, not at the 400,000 of the libraries. Unfreeze first, or
    a frozen cycle is kept for ever.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def freeze_new() -> None:
    """As `collect_and_freeze`, of what was made since the last freeze only: 100 ms less under the interpreter's lock,
    which stall whoever is served meanwhile. What of the old is garbage by now stays until the next full one."""
    gc.collect()
    gc.freeze()
