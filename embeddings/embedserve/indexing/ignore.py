"""Which paths of a workspace are not indexed: by .gitignore, .embedserveignore, the clients' files and rules, and by
what a command was asked for (`--include`, `--exclude`).

A path is decided by the deepest .gitignore that has a matching pattern, the last match in a file winning, as
git does it. Ignore files above the workspace count up to the repository's root (unless they leave out the
workspace itself, which was asked for), and .git/info/exclude counts last. On top, the clients skip hidden
names and a list of folders, and read a file of their own at the workspace's root. A folder that is ignored is never
entered, so nothing below it can be brought back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from embedserve.errors import SetupError
from embedserve.indexing.patterns import Patterns, parsed

# Roo Code's DIRS_TO_IGNORE without `pkg`, where Go keeps its sources.
# Names are matched against every part of the path inside the workspace.
_NAMES = "node_modules __pycache__ env venv dist out bundle vendor tmp temp deps Pods"
IGNORED_NAMES = frozenset(_NAMES.split())
VENDORED = frozenset({"node_modules", "vendor", "Pods", "venv", "__pycache__"})  # left out even where git lists them
CLIENTS_FILES = (".embedserveignore", ".rooignore", ".kilocodeignore")  # at the workspace's root
IGNORED_TAILS = ("target/dependency", "build/dependencies")


class Chosen:
    """What a command was asked for, in the syntax of .gitignore. Nothing in `include` means everything; what
    `exclude` matches is left out of it. `given`: both, to be kept; {} for nothing. Raises SetupError for what can match
    nothing."""

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        for option, patterns in (("--include", include), ("--exclude", exclude)):
            for pattern in patterns:
                if parsed(pattern) is None:
                    raise SetupError(f"{option} {pattern!r} can match nothing; give patterns as in .gitignore")
        self.given = {"include": list(include), "exclude": list(exclude)} if include or exclude else {}
        self._include, self._exclude = Patterns(include), Patterns(exclude)

    def leaves_out(self, relative: str, is_folder: bool) -> str | None:
        """Why a path is left out, or None. No folder is for want of `--include`: files in it may be meant."""
        if self._exclude.covers(relative, is_folder):
            return "--exclude"
        if self._include and not is_folder and not self._include.covers(relative, False):
            return "not of --include"
        return None


@dataclass
class Rules:
    """The ignore files that were met so far. `warnings` collects those that could not be read."""

    workspace: str
    chosen: Chosen = field(default_factory=Chosen)
    warnings: list[str] = field(default_factory=list)
    _specs: dict[str, Patterns | None] = field(default_factory=dict)
    _above: list[str] = field(default_factory=list)  # folders above the workspace, the outermost first
    _exclude: tuple[str, Patterns | None] = ("", None)  # the repository's root, its exclude file

    def __post_init__(self) -> None:
        top = _repository(self.workspace)
        if top:
            self._exclude = (top, self._read(os.path.join(top, ".git", "info", "exclude")))
            chain = _chain(top, self.workspace)
            if not any(self._by_git(full, chain[:index], True) for index, full in enumerate(chain) if index):
                self._above = chain[:-1]
        specs = ((name, self._read(os.path.join(self.workspace, name))) for name in CLIENTS_FILES)
        self._clients = [(name, spec) for name, spec in specs if spec is not None]

    def ignores(self, relative: str, is_folder: bool) -> str | None:
        """Why `relative` (inside the workspace, all its parents not ignored) is left out, or None."""
        name = os.path.basename(relative)
        posix = relative.replace(os.sep, "/")
        if name.startswith("."):
            return "hidden"
        if is_folder and (name in IGNORED_NAMES or f"/{posix}".endswith(tuple("/" + t for t in IGNORED_TAILS))):
            return "ignored folder"
        full = os.path.join(self.workspace, relative)
        if self._by_git(full, self._above + _chain(self.workspace, os.path.dirname(full)), is_folder):
            return ".gitignore"
        return self.by_choice(relative, is_folder)

    def by_choice(self, relative: str, is_folder: bool) -> str | None:
        """Which client's ignore file, or which option, leaves it out, or None."""
        by_file = next((name for name, patterns in self._clients if patterns.covers(relative, is_folder)), None)
        return by_file or self.chosen.leaves_out(relative, is_folder)

    def above(self, relative: str) -> str | None:
        """Why a folder above `relative` is left out, or None."""
        parts = relative.split(os.sep)
        folders = (os.sep.join(parts[:count]) for count in range(1, len(parts)))
        return next((reason for folder in folders if (reason := self.ignores(folder, True))), None)

    def _by_git(self, full: str, bases: list[str], is_folder: bool) -> bool:
        """What the .gitignore files in `bases` (outermost first) and the exclude file say."""
        for base in reversed(bases):
            if base not in self._specs:
                self._specs[base] = self._read(os.path.join(base, ".gitignore"))
            verdict = self._said(self._specs[base], base, full, is_folder)
            if verdict is not None:
                return verdict
        root, exclude = self._exclude
        return bool(self._said(exclude, root, full, is_folder))

    @staticmethod
    def _said(patterns: Patterns | None, base: str, full: str, is_folder: bool) -> bool | None:
        return patterns.verdict(os.path.relpath(full, base), is_folder) if patterns else None

    def _parsed(self, path: str, text: str) -> Patterns:
        """Line by line, as git reads them: a line that is no pattern matches nothing and spoils no other one."""
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        for number, line in enumerate(lines, 1):
            if line.strip(" ") and not line.startswith("#") and parsed(line) is None:
                self.warnings.append(f"{path}:{number}: {line!r} is no pattern; this line is not applied")
        return Patterns(lines)

    def _read(self, path: str) -> Patterns | None:
        try:
            with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
                return self._parsed(path, file.read())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            self.warnings.append(f"{path}: {error.strerror}; its rules are not applied")
            return None


def _repository(folder: str) -> str | None:
    """The nearest folder at or above that holds a .git."""
    while not os.path.exists(os.path.join(folder, ".git")):
        if os.path.dirname(folder) == folder:
            return None
        folder = os.path.dirname(folder)
    return folder


def _chain(top: str, folder: str) -> list[str]:
    """`top` and every folder from it down to `folder`, which lies at or below it."""
    chain = [folder]
    while chain[0] != top:
        chain.insert(0, os.path.dirname(chain[0]))
    return chain
