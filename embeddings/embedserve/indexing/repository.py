"""The name of a folder among the repositories of a shared collection: that of its git remote, else the folder's own.

    git@github.com:psf/requests.git, https://USER:KEY@github.com/psf/requests   github.com/psf/requests
    a folder src inside it                                                      github.com/psf/requests/src
    a folder without a remote                                                   its last part: requests

A remote's name is the same on every machine, so that two clones are one index. A folder's own name is not: it belongs
to the folder that was first indexed under it.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from embedserve.errors import IndexingFailed
from embedserve.indexing.git import origin
from embedserve.indexing.shared import SharedStore
from embedserve.indexing.workspace import shown_path

_SCP = re.compile(r"^(?:[^@/]+@)?([^/:]+):(?!/)(.+)$")  # git@HOST:PATH


def repository_name(folder: str) -> str:
    """Of an existing folder."""
    return remote_name(folder) or shown_path(os.path.basename(folder.rstrip(os.sep))) or "root"


def remote_name(folder: str) -> str:
    """By its git remote; "" for none that names a place on a network."""
    found = origin(folder)
    if found is None:
        return ""
    name = name_of_url(found[0])
    return "/".join(filter(None, (name, found[1]))) if name else ""


def name_of_url(url: str) -> str:
    """HOST/PATH of a git URL, without user, key, port and .git; "" for a path on this machine."""
    if "://" in url:
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path
    elif match := _SCP.match(url):
        host, path = match.group(1), match.group(2)
    else:
        return ""
    path = "/".join(part for part in path.split("/") if part).removesuffix(".git")
    return f"{host.lower()}/{path}" if host and path else ""


async def check_owner(store: SharedStore) -> None:
    """Raises IndexingFailed where the folder's own name is another folder's already."""
    if remote_name(store.workspace):
        return
    marker = await store.marker()
    owner = (marker or {}).get("workspace")
    if owner is not None and owner != shown_path(store.workspace):
        raise IndexingFailed(
            f"the repository {store.one} of the collection {store.collection} was made from {owner}; to replace it, or "
            "to index this folder under another name, say --repository NAME"
        )
