"""Files that were cut for the lexical index, kept until they are cut for their vectors: cutting is most of an indexer's
own work, and both need the same.

They lie in a file that has no name, so a process that is killed leaves nothing; in memory is only where each file lies.
What cannot be kept (a full disk) is cut once more, as is a file that changed in between.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from typing import IO

from embedserve.indexing.chunk import Cut


def packed(cut: Cut) -> bytes:
    """As `Spool.put` takes it."""
    return pickle.dumps(cut, pickle.HIGHEST_PROTOCOL)


class Spool:
    """`folder`: on a disk with room for the texts of the tree. Close it; one thread at a time."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._places: dict[str, tuple[str, int, int]] = {}
        self._closed = False

    def put(self, path: str, digest: str, cut: bytes) -> None:
        """Keep a file's `packed` chunks. `digest`: of its bytes and of how it was cut."""
        try:
            file = self._opened()
            start = file.seek(0, os.SEEK_END)
            if file.write(cut) == len(cut):
                self._places[path] = (digest, start, len(cut))
        except (OSError, ValueError):  # ValueError: closed meanwhile
            self._places.pop(path, None)

    def _opened(self) -> IO[bytes]:
        if self._closed:
            raise ValueError("closed")
        if self._file is None:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115  # lives as long as this
        return self._file

    def take(self, path: str, digest: str) -> Cut | None:
        """What was kept of a file with this digest; None: nothing."""
        known, start, size = self._places.get(path, ("", 0, 0))
        if known != digest or self._file is None:
            return None
        try:
            self._file.seek(start)
            kept = self._file.read(size)
        except (OSError, ValueError):
            return None
        cut: Cut | None = pickle.loads(kept) if len(kept) == size else None
        return cut

    def close(self) -> None:
        self._closed = True
        if self._file is not None:
            self._file.close()
