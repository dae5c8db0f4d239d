"""The pattern language of .gitignore, as git's wildmatch.c and dir.c read it, on bytes as git does.

A pattern says something of a path itself, never of what is below it: a folder that is left out is not entered. A line
that is no pattern (`[`, a lone backslash at the end) matches nothing, as in git.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass

_CLASSES: dict[str, str] = {
    "alpha": string.ascii_letters,
    "digit": string.digits,
    "alnum": string.ascii_letters + string.digits,
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
    "space": string.whitespace,
    "blank": " \t",
    "punct": string.punctuation,
    "cntrl": "".join(map(chr, [*range(32), 127])),
    "print": "".join(map(chr, range(32, 127))),
    "graph": "".join(map(chr, range(33, 127))),
}


@dataclass(frozen=True)
class Pattern:
    """One line. `deep`: it is matched against the whole path, not against the last part of it."""

    regex: re.Pattern[bytes]
    negated: bool
    folders_only: bool
    deep: bool

    def matches(self, path: bytes, is_folder: bool) -> bool:
        if self.folders_only and not is_folder:
            return False
        return self.regex.fullmatch(path if self.deep else path.rpartition(b"/")[2]) is not None


class Patterns:
    """The patterns of one file; of those that match a path the last one decides."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._patterns = [pattern for line in lines if (pattern := parsed(line)) is not None]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def verdict(self, relative: str, is_folder: bool) -> bool | None:
        """Of a path relative to the file's folder. True: left out, False: brought back, None: nothing is said."""
        path = os.fsencode(relative.replace(os.sep, "/"))
        last = next((pattern for pattern in reversed(self._patterns) if pattern.matches(path, is_folder)), None)
        return None if last is None else not last.negated

    def covers(self, relative: str, is_folder: bool) -> bool:
        """Is the path, or a folder above it, left out?"""
        parts = relative.split(os.sep)
        above = ("/".join(parts[:count]) for count in range(1, len(parts)))
        return any(self.verdict(folder, True) for folder in above) or bool(self.verdict(relative, is_folder))


def parsed(line: str) -> Pattern | None:
    """None for an empty line, a comment, and what can match nothing."""
    line = _without_spaces_at_the_end(line)
    if not line or line.startswith("#"):
        return None
    negated = line.startswith("!")
    line = line[1:] if negated else line
    folders_only = line.endswith("/")
    line = line[:-1] if folders_only else line
    deep = "/" in line
    regex = _translated(os.fsencode(line.removeprefix("/"))) if line else None
    return None if regex is None else Pattern(re.compile(regex, re.DOTALL), negated, folders_only, deep)


def _without_spaces_at_the_end(line: str) -> str:
    kept = line.rstrip(" ")
    backslashes = len(kept) - len(kept.rstrip("\\"))
    return kept + " " if len(kept) < len(line) and backslashes % 2 else kept


def _translated(glob: bytes) -> bytes | None:
    """A regular expression; None: the pattern matches nothing."""
    done, at = b"", 0
    # git compares what has no wildcard by itself and matches only the rest: its start counts as a folder's (`a**/*`).
    literal = re.match(rb"[^*?\[\\]*", glob).end()  # type: ignore[union-attr]  # matches nothing at least
    while at < len(glob):
        char = glob[at : at + 1]
        if char == b"*":
            end = at + len(glob[at:]) - len(glob[at:].lstrip(b"*"))
            opens = at == literal or glob[at - 1 : at] == b"/"
            is_part = end - at > 1 and opens and glob[end : end + 1] in (b"", b"/")
            if is_part and end < len(glob):
                done, end = done + b"(?:.*/)?", end + 1
            else:
                done += b".*" if is_part else b"[^/]*"
            at = end
        elif char == b"[":
            found = _bracket(glob, at + 1)
            if found is None or not found[0]:
                return None
            members, at = found
            done += b"[" + b"".join(b"\\x%02x" % member for member in sorted(members)) + b"]"
        elif char == b"\\" and at + 1 == len(glob):
            return None
        else:
            at += char == b"\\"
            done += b"[^/]" if char == b"?" else re.escape(glob[at : at + 1])
            at += 1
    return done


def _bracket(glob: bytes, at: int) -> tuple[set[int], int] | None:
    """The bytes that `[...]` matches, and where it ends; None: it does not end, or names an unknown class."""
    negated = glob[at : at + 1] in (b"!", b"^")
    at += negated
    members: set[int] = set()
    before, first = -1, True
    while first or glob[at : at + 1] != b"]":
        first, char = False, glob[at : at + 1]
        named = re.compile(rb"\[:([^\]]*):\]").match(glob, at)
        if named:
            if (chars := _CLASSES.get(named[1].decode("latin-1"))) is None:
                return None
            members |= set(chars.encode())
            before, at = -1, named.end()
            continue
        if char == b"-" and before >= 0 and glob[at + 1 : at + 2] not in (b"]", b""):
            at += 1 + (glob[at + 1 : at + 2] == b"\\")
            if at >= len(glob):
                return None
            members |= set(range(before, glob[at] + 1))
            before, at = -1, at + 1
            continue
        at += char == b"\\"
        if at >= len(glob):
            return None
        before = glob[at]
        members.add(before)
        at += 1
    return (set(range(1, 256)) - members if negated else members) - {ord("/")}, at + 1
