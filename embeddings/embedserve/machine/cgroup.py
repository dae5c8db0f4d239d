"""Reading one limit of this process's cgroup, version 1 or 2, on the whole way up to the root.

Knows no limit by name: the caller says which file to read and how. Inside a container the path in /proc/self/cgroup
may be the host's and not exist here: then the mount's own file counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
Read = Callable[[Path], T | None]
"""From a cgroup's folder to its limit; None where there is none. OSError and ValueError count as none."""


def limits(root: Path, controller: str, mounts: Iterable[str], *, v2: Read[T], v1: Read[T]) -> list[T]:
    """Every limit that `controller` has set for us. root: `/`, or a test's; mounts: names of the v1 hierarchy."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[T] = []
    for line in lines:
        hierarchy, controllers, path = line.split(":", 2)
        if hierarchy == "0" and not controllers:
            found += _on_the_way_up(root / "sys/fs/cgroup", path, v2)
        elif controller in controllers.split(","):
            for mount in mounts:
                found += _on_the_way_up(root / "sys/fs/cgroup" / mount, path, v1)
    return found


def _on_the_way_up(mount: Path, path: str, read: Read[T]) -> list[T]:
    folder = mount / path.lstrip("/")
    found = []
    for place in (folder, *folder.parents):
        if place == mount.parent:
            break
        try:
            limit = read(place)
        except (OSError, ValueError):
            continue
        if limit is not None:
            found.append(limit)
    return found
