"""What git says of a folder: `git ls-files -co --exclude-standard`, which knows every rule and every place of rules.

Git runs with the caller's configuration (core.excludesFile counts), but starts no hook or file system monitor that a
repository names, takes no lock, and inherits no GIT_DIR of a hook that we may be called from. It does not know which
languages are indexed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

SECONDS = 120.0  # for one listing; a monorepo of a million files takes ten


@dataclass
class Listing:
    """`files`: paths in the folder, as the system spells them; folders among them are submodules (and nested
    repositories, which end with a slash). `ignored`: left out by ignore rules, whole folders with a slash."""

    files: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


class GitFailed(Exception):
    """Git is there and the folder is a work tree, but it does not list it. The message is git's."""


def listing(folder: str, only: Sequence[str] = ()) -> Listing | None:
    """What git lists below `folder`; None: no git, no work tree, or one that ignores this very folder.

    `only`: paths inside, files or folders, to ask for instead of everything. Raises GitFailed.
    """
    if not has_repository(folder):
        return None
    try:
        if _git(folder, "check-ignore", "-q", folder).returncode == 0:
            return None  # it was asked for all the same
        paths = ("--", *only) if only else ()
        files = _names(folder, "ls-files", "-z", "-c", "-o", "--exclude-standard", *paths)
        ignored = _names(folder, "ls-files", "-z", "-o", "-i", "--directory", "--exclude-standard", *paths)
    except FileNotFoundError:
        return None  # no git here
    return None if files is None else Listing(list(dict.fromkeys(files)), ignored or [])


def ignored(folder: str, paths: Sequence[str]) -> set[str]:
    """Those of `paths` (in `folder`, existing or not) that git ignores; none where git does not say."""
    given = b"\0".join(os.fsencode(path) for path in paths)
    try:
        done = _git(folder, "check-ignore", "-z", "--stdin", given=given)
    except (FileNotFoundError, GitFailed):
        return set()
    return {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}


def origin(folder: str) -> tuple[str, str] | None:
    """The URL of the remote `origin`, and the folder's path inside the work tree ("" for its top); None: there is no
    such remote, or git does not say."""
    if not has_repository(folder):
        return None
    try:
        url, inside = _git(folder, "config", "--get", "remote.origin.url"), _git(folder, "rev-parse", "--show-prefix")
    except (FileNotFoundError, GitFailed):
        return None
    if url.returncode or inside.returncode or not url.stdout.strip():
        return None
    return os.fsdecode(url.stdout).strip(), os.fsdecode(inside.stdout).strip().rstrip("/")


def has_repository(folder: str) -> bool:
    while not os.path.lexists(os.path.join(folder, ".git")):
        if os.path.dirname(folder) == folder:
            return False
        folder = os.path.dirname(folder)
    return True


def _names(folder: str, *arguments: str) -> list[str] | None:
    done = _git(folder, *arguments)
    if done.returncode:
        message = os.fsdecode(done.stderr).strip().split("\n")[0]
        if "not a git repository" in message or "must be run in a work tree" in message:
            return None
        raise GitFailed(message or f"git ended with {done.returncode}")
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def _git(folder: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = [
        "git",
        *(["--literal-pathspecs"] if arguments[0] == "ls-files" else []),
        "-c",
        "core.fsmonitor=false",
        "-C",
        folder,
        *arguments,
    ]
    try:
        return subprocess.run(
            command,
            env={**kept, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            input=given,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GitFailed(f"git did not list the folder within {SECONDS:.0f} s") from None
