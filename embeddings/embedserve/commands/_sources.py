"""What a person may give as a workspace: a folder, a git URL or a package archive (a path or a URL)."""

from __future__ import annotations

import os
import sys


def local(source: str, home: str | None, *, fresh: bool) -> str:
    """The folder of it. `fresh`: have what is elsewhere here as it is now; else it must be here already.
    Raises IndexingFailed."""
    if os.path.isdir(source):
        return source
    from embedserve.errors import IndexingFailed
    from embedserve.indexing import obtain

    if not obtain.is_elsewhere(source) or home is None:
        return source
    if not fresh:
        folder = obtain.folder_of(source, home)
        if not os.path.isdir(folder):
            shown = obtain.shown(source)
            raise IndexingFailed(f"{shown} is not here yet; get it and index it with: embedserve index {shown}")
        return folder
    folder = obtain.obtain(source, home)
    print(f"{obtain.shown(source)} is in {folder}", file=sys.stderr)
    return folder
