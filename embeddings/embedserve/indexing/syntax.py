"""What a file defines, from its syntax tree: an outline of definitions with their names, and where statements begin.

It needs no query for each language: the kinds of node that define something have telling names, and their names
are found by the grammar's own `name` field or the first identifier of their head (`naming.py`). The walk goes down
only into what spans several rows. It has a deadline, as a tree can be of any size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from embedserve.indexing.naming import FUNCTIONS, kind_of, names_of, receiver_of, unwrapped
from embedserve.indexing.text import Breaks, Lines

MAX_DEPTH = 150  # generated code nests without end; what lies deeper is part of its surroundings
SIGNATURE_ROWS = 4
SIGNATURE_CHARS = 160


class TooSlow(Exception):
    """The deadline for one file has passed."""


@dataclass
class Definition:
    """Rows count from 0. `first` includes the comments directly above, `start` does not; `body` is the first row that
    is no part of its head. `scope`: names of the definitions around it. `cuts`: large enough to be a chunk."""

    kind: str
    names: tuple[str, ...]
    first: int
    start: int
    body: int
    last: int
    scope: tuple[str, ...] = ()
    cuts: bool = False
    inner: list[Definition] = field(default_factory=list)

    @property
    def path(self) -> tuple[str, ...]:
        return (*self.scope, *self.names[:1])

    def everything(self) -> Iterator[Definition]:
        """All definitions inside, in file order."""
        for definition in self.inner:
            yield definition
            yield from definition.everything()

    def signature(self, lines: Lines) -> str:
        """Its head, at most SIGNATURE_CHARS characters; "" where there is none."""
        if not self.names and self.kind != "section":
            return ""
        last = min(max(self.body - 1, self.start), self.start + SIGNATURE_ROWS - 1, self.last)
        text = lines.text((self.start, last)).rstrip()
        return text if len(text) <= SIGNATURE_CHARS else text[:SIGNATURE_CHARS].rstrip() + " …"


@dataclass
class Outline:
    """`root`: the file as a definition without a name. `depths`: row -> depth of the statement that begins there."""

    root: Definition
    depths: dict[int, int] = field(default_factory=dict)

    def breaks(self, lines: Lines, first: int, last: int) -> Breaks:
        """The cost of a cut inside rows `first` to `last`: shallow statements are the best places."""
        depths, blank = self.depths, lines.blank
        base = min((depths[row] for row in range(first + 1, last + 1) if row in depths), default=0)

        def cost(row: int) -> float:
            depth = depths.get(row)
            after_blank = row > 0 and blank[row - 1]
            if depth is None:
                return 0.6 if after_blank else 1.0
            return max(min((depth - base) * 0.12, 0.7) - 0.1 * after_blank, 0.0)

        return cost


def read_outline(lines: Lines, tree: Any, language: str, deadline: float) -> Outline:
    """The outline of a parsed file. `tree`: of tree-sitter, made from `lines.joined`; `deadline`: time.monotonic().
    Raises TooSlow."""
    outline = Outline(Definition("file", (), 0, 0, 0, len(lines) - 1))
    _Reader(lines, language, outline, deadline).children(tree.root_node, outline.root, 0)
    return outline


class _Reader:
    def __init__(self, lines: Lines, language: str, outline: Outline, deadline: float) -> None:
        self.lines, self.language, self.outline, self.deadline = lines, language, outline, deadline
        self.seen = 0

    def children(self, node: Any, into: Definition, depth: int) -> None:
        """Note what begins below `node`; definitions go into `into`."""
        above: int | None = None  # first row of the comments that end on the row before
        above_last = -2
        gap = 1  # rows from a comment's last to the first that it speaks of
        end = -1  # last row of the sibling before
        for child in node.children:
            self._check_time()
            first, last = child.start_point[0], _last_row(child)
            if child.is_named:
                self.outline.depths.setdefault(first, depth)
            if _is_leading(child):
                if first > end:  # not behind code on the same row
                    above = above if above is not None and above_last + 1 >= first else first
                    above_last = last
                    gap = 2 if self.lines.lines[first].lstrip().startswith("/**") else 1  # some leave a blank line
                end = max(end, last)
                continue
            leading = above if above is not None and above_last + gap >= first else first
            above = None
            end = max(end, last)
            found = self._definition(child, into, leading, first, last, depth)
            if found is None and last > first and child.child_count and depth < MAX_DEPTH:
                self.children(child, into, depth + 1)

    def _definition(self, node: Any, into: Definition, leading: int, first: int, last: int, depth: int) -> Any:
        kind = kind_of(node, self.language)
        if kind is None or (kind in ("variable", "assigned") and into.kind in FUNCTIONS):
            return None
        if kind == "function" and into.kind in _TYPES:
            kind = "method"
        inner = unwrapped(node)
        body = inner.child_by_field_name("body")
        start = inner.start_point[0]
        found = Definition(
            kind,
            names_of(inner, self.language),
            leading,
            start,
            body.start_point[0] if body is not None and body.start_point[0] > start else start + 1,
            last,
            (*into.path, *receiver_of(inner, self.language)),
        )
        found.cuts = last > first and kind != "assigned" and self.lines.size((leading, last)) >= 50
        if kind == "assigned":
            found.kind = "variable"
        if not found.names and not found.cuts:
            return None
        into.inner.append(found)
        if last > first and depth < MAX_DEPTH and self._worth_opening(found):
            self.children(inner, found, depth + 1)
        return found

    def _worth_opening(self, found: Definition) -> bool:
        """A function that fits is one chunk; what it defines inside matters where modules are made of functions."""
        if found.kind not in FUNCTIONS or self.language in _NESTING:
            return True
        return self.lines.fill((found.first, found.last)) > 1

    def _check_time(self) -> None:
        self.seen += 1
        if self.seen % 1024 == 0 and time.monotonic() > self.deadline:
            raise TooSlow


_TYPES = frozenset({"class", "interface", "struct", "enum", "trait", "impl", "protocol"})
_NESTING = frozenset({"javascript", "typescript", "tsx", "lua"})


def _last_row(node: Any) -> int:
    row, column = node.end_point
    return int(row - 1 if column == 0 and row > node.start_point[0] else row)


def _is_leading(node: Any) -> bool:
    return node.is_named and (
        "comment" in node.type or node.type in ("attribute_item", "decorator", "annotation", "attribute_list")
    )
