"""Which folders of a workspace can hold a file that is indexed: those that a watch needs.

An ignored `node_modules` has tens of thousands of folders, and each watched one takes kernel memory and counts
against a limit of the whole system. Git is asked once for each level of the tree. It does not know what is in a file.
"""

from __future__ import annotations

import os

from embedserve.indexing.git import has_repository, ignored
from embedserve.indexing.ignore import VENDORED, Chosen, Rules
from embedserve.indexing.walk import is_of_another


def folders(workspace: str, chosen: Chosen | None = None) -> set[str]:
    """Paths inside the workspace, itself ("") included, whose files no rule leaves out. Links are not followed."""
    kept: set[str] = set()
    rules = Rules(workspace, chosen or Chosen())
    tops = [""]
    while tops:
        top = tops.pop()
        by_git = has_repository(os.path.join(workspace, top))
        level = [top]
        while level:
            kept.update(level)
            below = [child for folder in level for child in _subfolders(workspace, folder)]
            inner = {child for child in below if os.path.lexists(os.path.join(workspace, child, ".git"))}
            level = _without_ignored(workspace, top, below, rules, by_git)
            tops.extend(child for child in level if child in inner and not _is_foreign(workspace, child, by_git))
            level = [child for child in level if child not in inner]
    return kept


def _is_foreign(workspace: str, inner: str, by_git: bool) -> bool:
    return by_git and is_of_another(workspace, inner)


def _without_ignored(workspace: str, top: str, below: list[str], rules: Rules, by_git: bool) -> list[str]:
    if not by_git:
        return [child for child in below if not rules.ignores(child, True)]
    chosen = [c for c in below if os.path.basename(c) not in VENDORED and not rules.by_choice(c, True)]
    inside = {os.path.relpath(child, top or "."): child for child in chosen}
    return [inside[name] for name in inside.keys() - ignored(os.path.join(workspace, top), sorted(inside))]


def _subfolders(workspace: str, folder: str) -> list[str]:
    try:
        with os.scandir(os.path.join(workspace, folder)) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []  # removed meanwhile, or not ours to read
    return [os.path.join(folder, name) for name in names if name != ".git"]
