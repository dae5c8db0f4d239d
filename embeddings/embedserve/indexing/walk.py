"""The files of a workspace that are indexed, and for each of the others why not.

In a git work tree the files are those that git lists (`git.py`), submodules' included; nested work trees and nested
repositories are not part of it, and are named. What others wrote (`VENDORED`) is left out and counted. Elsewhere it
is a depth-first walk in name order with our own ignore rules (`ignore.py`), that asks git in each work tree it meets.

Symbolic links are not followed: a link into the workspace is indexed under its target's own path, a link out of it is
not part of the workspace, and a loop cannot arise. Nothing is opened here but ignore files, and small files without a
suffix for their first line (`#!`): size and kind come from `lstat`, so that a 200 MB file or a pipe costs nothing.
What could not be read is named in `unreadable`, so that its points are kept.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from embedserve.indexing.git import GitFailed, has_repository, ignored, listing
from embedserve.indexing.ignore import VENDORED, Chosen, Rules
from embedserve.indexing.languages import Language, language_of, language_of_shebang
from embedserve.indexing.workspace import shown_path

HEAD_BYTES = 128
MAX_SCRIPT_BYTES = 2**20  # of a file without a suffix


@dataclass(frozen=True)
class Found:
    """A file to index. `relative`: inside the workspace, as the system spells it. `changed_at`: seconds since 1970;
    `size`: bytes."""

    relative: str
    language: Language
    changed_at: float = 0.0
    size: int = 0


@dataclass
class Walk:
    """`files`: paths inside the workspace, in order. `skipped`: reason -> count, for files of a kind that
    is indexed; `left_out`: each of them, and ignored folders, with its reason. `unreadable`: paths (files or folders)
    whose content is unknown. `warnings`: for a person."""

    files: list[Found] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def skip(self, relative: str, reason: str) -> None:
        self.skipped[reason] += 1
        self.left_out.append((relative, reason))

    def cannot_read(self, relative: str, error: Exception) -> None:
        self.unreadable.append(relative)
        self.skip(relative, "unreadable")
        why = (error.strerror if isinstance(error, OSError) else "") or f"{type(error).__name__}: {error}"
        self.warnings.append(f"{shown_path(relative) or '.'}: {why}; kept as it was indexed")


def walk(workspace: str, only: set[str] | None = None, chosen: Chosen | None = None) -> Walk:
    """Walk `workspace`; raises nothing for what lies inside it. `only`: files, or folders with all under them."""
    found, rules = Walk(), Rules(workspace, chosen or Chosen())
    if not _walk_by_git(workspace, "", rules, found, sorted(only or ())):
        for root in sorted(only) if only is not None else [""]:
            _walk_root(workspace, root, rules, found)
    found.warnings.extend(rules.warnings)
    if only is not None:  # git was asked for whole submodules, and roots may lie in one another
        found.files = list({file.relative: file for file in found.files if _under(file.relative, only)}.values())
    return found


def _under(path: str, roots: set[str]) -> bool:
    parts = path.split(os.sep)
    return any(os.sep.join(parts[: count + 1]) in roots for count in range(len(parts)))


def _inner_repository(root: str, path: str) -> str | None:
    """The outermost folder above or at `path` (inside `root`) that is a work tree of its own."""
    parts = path.split(os.sep)
    folders = (os.sep.join(parts[: count + 1]) for count in range(len(parts)))
    return next((folder for folder in folders if os.path.lexists(os.path.join(root, folder, ".git"))), None)


def wanted(workspace: str, paths: set[str], chosen: Chosen | None = None) -> set[str]:
    """Those of `paths` (in the workspace, existing or not) that no rule leaves out, without a look at what is in them.
    One that is gone counts as a folder: what is indexed below it may have to go."""
    seen = {path for path in paths if ".git" not in path.split(os.sep)}
    if not seen:
        return seen
    rules = Rules(workspace, chosen or Chosen())
    files = {path for path in seen if os.path.isfile(os.path.join(workspace, path))}
    if has_repository(workspace):
        seen = {path for path in seen if VENDORED.isdisjoint(path.split(os.sep)[: -1 if path in files else None])}
        seen = {path for path in seen if not rules.by_choice(path, path not in files)}
        return {path for path in seen - _ignored_by_git(workspace, seen) if not is_of_another(workspace, path)}
    return {path for path in seen if not (rules.above(path) or rules.ignores(path, path not in files))}


def _ignored_by_git(top: str, paths: set[str]) -> set[str]:
    """Those of `paths` that git ignores. Of a path inside a submodule only git in that submodule knows."""
    inside: dict[str, set[str]] = {}
    for path in paths:
        inner = _inner_repository(top, path)
        if inner is not None and inner != path:
            inside.setdefault(inner, set()).add(path)
    left_out = ignored(top, sorted(paths.difference(*inside.values()) | inside.keys()))
    for inner, those in inside.items():
        below = {os.path.relpath(path, inner) for path in those}
        left_out |= (
            those
            if inner in left_out
            else {os.path.join(inner, path) for path in _ignored_by_git(os.path.join(top, inner), below)}
        )
    return left_out


def is_of_another(workspace: str, path: str) -> bool:
    """Is a path of a git work tree in a nested repository or work tree that is no submodule?"""
    inner = _inner_repository(workspace, path)
    try:
        listed = listing(workspace, [inner]) if inner else None
    except GitFailed:
        return False
    return listed is not None and f"{inner}/" in listed.files


def _walk_by_git(workspace: str, folder: str, rules: Rules, found: Walk, only: Sequence[str] = ()) -> bool:
    """What git lists of a work tree; False: the rules must say."""
    top = os.path.join(workspace, folder) if folder else workspace
    try:
        listed = listing(top, [_inner_repository(top, path) or path for path in only])
    except GitFailed as error:
        found.warnings.append(
            f"{shown_path(folder) or '.'}: git cannot list it ({error}); our own ignore rules are used"
        )
        return False
    if listed is None:
        return False
    for name in sorted(listed.files):
        _note(workspace, os.path.join(folder, name), rules, found)
    for name in listed.ignored:
        relative = os.path.join(folder, name)
        if name.endswith("/"):
            found.left_out.append((relative, ".gitignore"))
        elif language_of(relative) is not None:
            found.skip(relative, ".gitignore")
    return True


def _note(workspace: str, relative: str, rules: Rules, found: Walk) -> None:
    """A path that git lists: a file, a submodule, or a repository of its own."""
    if not VENDORED.isdisjoint(relative.split("/")[:-1]):
        if language_of(relative) is not None:
            found.skip(relative, "vendored")
    elif relative.endswith("/"):
        found.skip(relative, "nested repository")
        found.warnings.append(f"{shown_path(relative)}: a repository or work tree of its own; index it by its own path")
    else:
        try:
            info = os.lstat(os.path.join(workspace, relative))
        except (FileNotFoundError, NotADirectoryError):
            return  # removed, but not from git's index
        except OSError as error:
            found.cannot_read(relative, error)
            return
        if stat.S_ISDIR(info.st_mode):
            if os.path.lexists(os.path.join(workspace, relative, ".git")):
                _walk_by_git(workspace, relative, rules, found)
            return
        _note_file(workspace, relative, info, found, rules.by_choice(relative, False))


def _walk_root(workspace: str, root: str, rules: Rules, found: Walk) -> None:
    """Everything below one path that git does not list; the path itself where it is a file."""
    parts = root.split(os.sep)
    for count in range(1, len(parts)):
        folder = os.sep.join(parts[:count])
        if rules.ignores(folder, True):
            return
        is_repository = os.path.lexists(os.path.join(workspace, folder, ".git"))
        if is_repository and _walk_by_git(workspace, folder, rules, found, [os.sep.join(parts[count:])]):
            return
    try:
        info = os.lstat(os.path.join(workspace, root))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        found.cannot_read(root, error)
        return
    if not stat.S_ISDIR(info.st_mode):
        _note_file(workspace, root, info, found, rules.ignores(root, False))
    elif not root or not rules.ignores(root, True):
        _walk_by_rules(workspace, root, rules, found)


def _walk_by_rules(workspace: str, root: str, rules: Rules, found: Walk) -> None:
    folders = [root]
    while folders:
        folder = folders.pop()
        is_repository = folder and os.path.lexists(os.path.join(workspace, folder, ".git"))
        if is_repository and _walk_by_git(workspace, folder, rules, found):
            continue
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


def _visit(entry: os.DirEntry[str], folder: str, rules: Rules, found: Walk) -> str | None:
    """Note a file, or return the folder to enter."""
    relative = os.path.join(folder, entry.name)
    try:
        info = entry.stat(follow_symlinks=False)
    except OSError:
        return None  # removed meanwhile
    reason = rules.ignores(relative, stat.S_ISDIR(info.st_mode))
    if not stat.S_ISDIR(info.st_mode):
        _note_file(rules.workspace, relative, info, found, reason)
    elif reason:
        found.left_out.append((relative + "/", reason))
    else:
        return relative
    return None


def _note_file(workspace: str, relative: str, info: os.stat_result, found: Walk, left_out: str | None) -> None:
    """A file to index, or why it is none. `left_out`: by which rule."""
    language = language_of(relative) or (None if left_out else _language_of_script(workspace, relative, info))
    if language is None:
        found.unknown[os.path.splitext(relative)[1].lower() or os.path.basename(relative)] += 1
    elif stat.S_ISLNK(info.st_mode):
        found.skip(relative, "symbolic link")
    elif left_out:
        found.skip(relative, left_out)
    elif not stat.S_ISREG(info.st_mode):
        found.skip(relative, "not a file")
    elif info.st_size > language.max_bytes:
        found.skip(relative, reason := f"over {language.max_bytes // 2**20} MiB")
        found.warnings.append(f"{shown_path(relative)}: {info.st_size / 2**20:.1f} MiB, {reason}; not indexed")
    else:
        found.files.append(Found(relative, language, info.st_mtime, info.st_size))


def _language_of_script(workspace: str, relative: str, info: os.stat_result) -> Language | None:
    """By the first line, of a regular file without a suffix; a pipe or a device is never opened."""
    if os.path.splitext(relative)[1] or not stat.S_ISREG(info.st_mode) or not 2 < info.st_size <= MAX_SCRIPT_BYTES:
        return None
    try:
        with open(os.path.join(workspace, relative), "rb") as file:
            return language_of_shebang(file.read(HEAD_BYTES))
    except OSError:
        return None
