"""What a workspace is called: its absolute path, its collection and the paths inside it.

A collection is named after the folder's path as VS Code knows it: absolute, symbolic links kept, no slash at the end.
Everything here is pure naming; it knows no Qdrant.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

from embedserve.errors import IndexingFailed

OWN_PREFIX = "embedserve-"
CLIENTS_PREFIX = "ws-"


def workspace_path(given: str | Path) -> str:
    """The absolute path of `given` with symbolic links kept, as an editor that opened it would say.

    A relative path is taken from $PWD when that is the current folder: the kernel's name for it has the
    links resolved, and would give another collection than the editor's.
    """
    here = os.environ.get("PWD", "")
    if not (os.path.isabs(here) and os.path.isdir(here) and os.path.samefile(here, os.getcwd())):
        here = os.getcwd()
    return os.path.normpath(os.path.join(here, os.path.expanduser(given)))


def existing_workspace(given: str | Path) -> str:
    """As workspace_path, for a folder that must be there."""
    path = workspace_path(given)
    if not os.path.exists(path):
        raise IndexingFailed(f"{path} does not exist; give the folder to index")
    if not os.path.isdir(path):
        raise IndexingFailed(f"{path} is a file; give the folder that it is in")
    return path


def collection_name(workspace: str) -> str:
    """Of our own index of a folder: `embedserve-` and 16 hex digits of its path."""
    return OWN_PREFIX + _hashed(workspace)


def clients_collection_name(workspace: str) -> str:
    """Of Roo Code's, Zoo Code's and Kilo Code's index of a folder."""
    return CLIENTS_PREFIX + _hashed(workspace)


def _hashed(workspace: str) -> str:
    """The first 16 hex digits of sha256(path), as the clients have it."""
    return hashlib.sha256(os.fsencode(workspace)).hexdigest()[:16]


def shown_path(path: str) -> str:
    """`path` as it can be stored and printed: bytes that are not UTF-8 become \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_this_machine(url: str) -> bool:
    """A proxy that is set for the internet must not be asked for this machine's own ports."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
