"""The few things that a storage needs of a file system: space, durability, and files that are replaced whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from embedserve.vectordb.errors import no_space


def check_space(folder: Path, needed: int) -> None:
    """Qdrant Edge writes through memory maps, where a full disk is not an error but the death of the process."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise no_space(free, needed)


def _files(folder: Path) -> Iterator[str]:
    """The files below a folder; those that vanish meanwhile are no error."""
    for parent, _, names in os.walk(folder):
        yield from (os.path.join(parent, name) for name in names)


def disk_size(folder: Path) -> int:
    total = 0
    for file in _files(folder):
        with contextlib.suppress(FileNotFoundError):
            total += os.stat(file).st_size
    return total


def sync_files(folder: Path) -> None:
    for file in _files(folder):
        with contextlib.suppress(FileNotFoundError):
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
