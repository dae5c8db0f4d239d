"""What is ours on the disk: only a folder that carries our mark may ever be removed, and every removal is logged.

The mark is a file. The storage folder has one, and so has each collection's folder, from before its first other file
until after its last. A folder of another layout (a real Qdrant's above all) is refused by name before anything is
written into it. Folders of embedserve 0.x had no mark; they are known by their own layout and get one.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path

import orjson

from embedserve.errors import SetupError

log = logging.getLogger(__name__)

MARK = ".embedserve-qdrant"
META = "meta.json"
# What a killed process may leave in a storage's folder, or in one of its snapshots' folders.
MAKING, UPLOADED, FETCHED = ".making-", ".uploaded-", ".fetched-"
_TEXT = b"This folder belongs to the embedded Qdrant of embedserve, which may remove it.\n"
_META_FIELDS = {"name", "config", "indexes", "generation"}
_COLLECTION = re.compile(r"[0-9a-f]{32}")
GENERATION = re.compile(r"[0-9a-f]{16}")


def is_ours(folder: Path) -> bool:
    return not folder.is_symlink() and (folder / MARK).is_file()


def mark(folder: Path) -> None:
    (folder / MARK).write_bytes(_TEXT)


def claim_storage(folder: Path) -> None:
    """Make the folder ours if it is empty, new, or of our older layout. SetupError, with nothing written, if not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = {entry.name for entry in folder.iterdir()} - {".lock", "lost+found"}
        if is_ours(folder):
            return
        collections = folder / "collections"
        if entries - {"collections"} or (collections.exists() and not _all_ours(collections)):
            raise SetupError(
                f"the storage {folder} holds {_describe(folder, entries)}, which is not the embedded Qdrant's: "
                "nothing was changed; give another --storage (a real Qdrant's data is moved with its snapshots)"
            )
        if collections.exists():
            for each in collections.iterdir():
                mark(each)
        mark(folder)
    except OSError as error:
        raise SetupError(f"cannot use the storage {folder}: {error.strerror}") from None


def _all_ours(collections: Path) -> bool:
    return collections.is_dir() and all(_was_ours(each) for each in collections.iterdir())


def _was_ours(folder: Path) -> bool:
    """A collection's folder as it was before there were marks."""
    if not folder.is_dir() or not _COLLECTION.fullmatch(folder.name):
        return False
    if is_ours(folder):
        return True
    try:
        return set(orjson.loads((folder / META).read_bytes())) == _META_FIELDS
    except (OSError, ValueError, TypeError):
        return False


def _describe(folder: Path, entries: set[str]) -> str:
    if "raft_state.json" in entries or "aliases" in entries:
        return "a real Qdrant's data"
    foreign = sorted(entries - {"collections"})
    if not foreign and not (folder / "collections").is_dir():
        foreign = ["collections"]
    if not foreign:
        foreign = sorted(f"collections/{each.name}" for each in (folder / "collections").iterdir())
    return f"`{foreign[0]}`" + (f" and {len(foreign) - 1} more" if foreign[1:] else "")


def remove(folder: Path, why: str) -> None:
    """Remove a folder of ours, its mark last, so that what a crash leaves is still known as ours.

    A folder without the mark, or a symbolic link, is left alone. Blocking.
    """
    if not is_ours(folder):
        log.warning("not removed, since it does not carry our mark: %s (%s)", folder, why)
        return
    log.info("removing %s: %s", folder, why)
    for entry in list(os.scandir(folder)):
        if entry.name != MARK:
            _remove_entry(entry)
    (folder / MARK).unlink(missing_ok=True)
    folder.rmdir()


def clear_leftovers(storage: Path, snapshots: Path) -> None:
    """Remove the unfinished files of a process that was killed. Blocking; call it with the storage's lock held."""
    left = [one for prefix in (UPLOADED, FETCHED) for one in storage.glob(prefix + "*")]
    left += list(snapshots.glob(f"*/{MAKING}*"))
    for one in left:
        log.info("removing %s: left by a process that was killed", one)
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one, ignore_errors=True)
        else:
            one.unlink(missing_ok=True)


def remove_generation(folder: Path, why: str) -> None:
    """Remove a shard's folder inside a collection's folder of ours. Blocking."""
    if not is_ours(folder.parent) or not GENERATION.fullmatch(folder.name) or folder.is_symlink():
        log.warning("not removed, since it is not ours: %s (%s)", folder, why)
        return
    if folder.exists():
        log.info("removing %s: %s", folder, why)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_entry(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        os.unlink(entry.path)
