"""The files of a workspace that are indexed, and for each of the others why not.

A depth-first walk in name order without recursion. Symbolic links are not followed: a link into the workspace
is indexed under its target's own path, a link out of it is not part of the workspace, and a loop cannot
arise. Nothing is opened here but ignore files: size and kind come from `lstat`, so that a 200 MB
file or a pipe costs nothing. What could not be read is named in `unreadable`, so that its points are kept.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field

from embedserve.indexing.ignore import Rules
from embedserve.indexing.languages import Language, language_of
from embedserve.indexing.workspace import shown_path

MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Found:
    """A file to index. `relative`: inside the workspace, as the system spells it. `changed_at`: seconds since 1970."""

    relative: str
    language: Language
    changed_at: float = 0.0


@dataclass
class Walk:
    """`files`: paths inside the workspace, in order. `skipped`: reason -> count, for files of a kind that
    is indexed. `unreadable`: paths (files or folders) whose content is unknown. `warnings`: for a person."""

    files: list[Found] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def cannot_read(self, relative: str, error: OSError) -> None:
        self.unreadable.append(relative)
        self.skipped["unreadable"] += 1
        self.warnings.append(f"{shown_path(relative) or '.'}: {error.strerror or error}; kept as it was indexed")


def walk(workspace: str, only: set[str] | None = None) -> Walk:
    """Walk `workspace`; raises nothing for what lies inside it. `only`: files, or folders with all under them."""
    found, rules = Walk(), Rules(workspace)
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(workspace, folder)) as entries:
                names = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue  # removed since its parent was read
        except OSError as error:
            found.cannot_read(folder, error)
            continue
        inner = [path for entry in names if (path := _visit(entry, folder, rules, found)) is not None]
        folders.extend(reversed(inner))
    found.warnings.extend(rules.warnings)
    if only is not None:
        found.files = [file for file in found.files if _under(file.relative, only)]
    return found


def _under(path: str, roots: set[str]) -> bool:
    parts = path.split(os.sep)
    return any(os.sep.join(parts[: count + 1]) in roots for count in range(len(parts)))


def _visit(entry: os.DirEntry[str], folder: str, rules: Rules, found: Walk) -> str | None:
    """Note a file, or return the folder to enter."""
    relative = os.path.join(folder, entry.name)
    try:
        info = entry.stat(follow_symlinks=False)
    except OSError:
        return None  # removed meanwhile
    is_folder = stat.S_ISDIR(info.st_mode)
    language = None if is_folder else language_of(relative)
    if not is_folder and language is None:
        found.unknown[os.path.splitext(entry.name)[1].lower() or entry.name] += 1
        return None
    if stat.S_ISLNK(info.st_mode):
        found.skipped["symbolic link"] += 1
    elif reason := rules.ignores(relative, is_folder):
        if not is_folder:
            found.skipped[reason] += 1
    elif is_folder:
        return relative
    elif not stat.S_ISREG(info.st_mode):
        found.skipped["not a file"] += 1
    elif info.st_size > MAX_FILE_BYTES:
        found.skipped["over 1 MiB"] += 1
        found.warnings.append(f"{shown_path(relative)}: {info.st_size / 2**20:.1f} MiB, over 1 MiB; not indexed")
    elif language is not None:
        found.files.append(Found(relative, language, info.st_mtime))
    return None
