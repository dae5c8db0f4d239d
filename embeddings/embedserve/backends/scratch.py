"""A temporary folder beside its destination that a killed process leaves behind only until the next one is made.

Each is locked by the process that works in it (flock on the folder itself), and a lock ends with its process. So a
folder of ours without a lock is nobody's, and is removed. Where there is no flock (Windows) nothing is removed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

PREFIX = ".making-"


@contextlib.contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, removed at the end with all that is in it."""
    with _held(parent, wait=True):  # between a folder's making and its lock nobody looks
        for left in parent.glob(PREFIX + "*"):
            with _held(left, wait=False) as nobodys:
                if nobodys:
                    log.info("removing what a killed process left: %s", left)
                    shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        held = contextlib.ExitStack()
        held.enter_context(_held(folder, wait=False))
    with held:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the folder's lock; False where another process has it, or locks are not to be had."""
    if fcntl is None:
        yield False
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        locked = True
    except OSError:  # held, or a file system without locks
        locked = False
    try:
        yield locked
    finally:
        os.close(descriptor)
