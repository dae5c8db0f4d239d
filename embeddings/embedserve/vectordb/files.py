"""The few things that a storage needs of a file system: space, durability, and files that are replaced whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import orjson

from embedserve.vectordb.errors import no_space


def check_space(folder: Path, needed: int) -> None:
    """Qdrant Edge writes through memory maps, where a full disk is not an error but the death of the process."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise no_space(free, needed)


def disk_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def sync_files(folder: Path) -> None:
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a folder on some systems, or a file that has just gone
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def replace_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file so that, whatever happens, the old or the new content is there whole."""
    fresh = path.with_suffix(".new")
    with open(fresh, "wb") as file:
        file.write(orjson.dumps(content))
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    with contextlib.suppress(OSError):  # folders cannot be synced on Windows
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
