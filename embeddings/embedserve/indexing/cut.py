"""From an outline to parts: every row of the file in one, definitions whole where they fit.

A definition that fits is one part, with the comment directly above it. One that is too large is opened: the
definitions inside it become parts, what lies between them is split evenly at its statements. So it is with the file
as a whole. A licence at the top is a part of its own, so that it is the same text in every file. In the end, what is
too small to say anything joins a neighbour.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from embedserve.indexing.syntax import Definition, Outline, TooSlow
from embedserve.indexing.text import MAX_CHARS, MIN_CHARS, Breaks, Lines, Span, paragraph_breaks, split

SMALL_MAY_ADD = 2 * MIN_CHARS / MAX_CHARS  # a part may grow over its bound by small neighbours, one at each end


@dataclass
class Part:
    """Rows `first` to `last` (from 0). `owner`: the innermost definition that it lies in, the file for none.
    `whole`: all of the owner. `kind`: where it is not the owner that says it."""

    first: int
    last: int
    owner: Definition
    whole: bool = False
    kind: str = ""

    @property
    def span(self) -> Span:
        return (self.first, self.last)


def cut(lines: Lines, outline: Outline | None, root: Definition, deadline: float = math.inf) -> list[Part]:
    """Parts in file order; every line that is not blank is in exactly one. Without an `outline` the places to cut at
    are paragraphs. Raises TooSlow after `deadline` (time.monotonic())."""
    cutter = _Cutter(lines, outline, deadline)
    licence = licence_rows(lines)
    parts = [Part(*span, root, kind="licence") for span in split(lines, (0, licence), paragraph_breaks(lines))]
    parts += cutter.inside(root, licence + 1)
    trimmed = [part for part in parts if _trim(lines, part)]
    return join_small(lines, trimmed, 2 * MIN_CHARS if root.inner and root.inner[0].kind == "section" else MIN_CHARS)


class _Cutter:
    def __init__(self, lines: Lines, outline: Outline | None, deadline: float) -> None:
        self.lines, self.outline, self.deadline = lines, outline, deadline
        self._paragraphs = paragraph_breaks(lines)

    def inside(self, owner: Definition, first: int) -> Iterator[Part]:
        """The parts of an opened definition, from row `first` on."""
        row = first
        for inner in owner.inner:
            if not inner.cuts or inner.start < row:  # its first row is taken: what is left of it is no definition
                continue
            start = max(inner.first, row)
            yield from self._between(owner, row, start - 1)
            last = min(inner.last, owner.last)
            sections = inner.kind == "section" and inner.inner
            if self.lines.fill((start, last)) <= 1 and not sections:
                yield Part(start, last, inner, whole=True)
            else:
                yield from self.inside(inner, start)
            row = last + 1
        yield from self._between(owner, row, owner.last)

    def _between(self, owner: Definition, first: int, last: int) -> Iterator[Part]:
        span = self.lines.trimmed((first, last)) if first <= last else None
        if span is None:
            return
        reserved = len(owner.signature(self.lines)) / 3
        for start, end in split(self.lines, span, self._breaks(span), reserved):
            yield Part(start, end, owner)
            if time.monotonic() > self.deadline:
                raise TooSlow

    def _breaks(self, span: Span) -> Breaks:
        return self.outline.breaks(self.lines, *span) if self.outline else self._paragraphs


def _trim(lines: Lines, part: Part) -> bool:
    span = lines.trimmed(part.span)
    if span is not None:
        part.first, part.last = span
    return span is not None


def join_small(lines: Lines, parts: list[Part], least: int) -> list[Part]:
    """Parts of under `least` characters join a neighbour that has room: closing brackets the one before, others
    (the header of a class, of a section) the one after. One that finds no room stays as it is."""
    done: list[Part] = []
    for part in parts:
        joins = done and (_small(lines, done[-1], least) or not _says_something(lines, part))
        if joins and (joined := _joined(lines, done[-1], part)):
            done[-1] = joined
        else:
            done.append(part)
    if len(done) > 1 and _small(lines, done[-1], least) and (joined := _joined(lines, done[-2], done[-1])):
        done[-2:] = [joined]
    return done


def _says_something(lines: Lines, part: Part) -> bool:
    return lines.size(part.span) >= MIN_CHARS or any(map(str.isalnum, lines.text(part.span)))


def _small(lines: Lines, part: Part, least: int) -> bool:
    return lines.size(part.span) < least or lines.small(part.span)


def _joined(lines: Lines, before: Part, after: Part) -> Part | None:
    """One part of two consecutive ones, with the properties of the larger; None: too large."""
    span = (before.first, after.last)
    if lines.fill(span) > 1 + SMALL_MAY_ADD:
        return None
    larger = before if lines.size(before.span) > lines.size(after.span) else after
    return Part(*span, larger.owner, larger.whole, larger.kind)


_COMMENT_STARTS = ("#", "//", "/*", "*", "--", ";", "<!--", "%", "(*", '"""', "'''", "dnl ", "rem ", "REM ", "'")
_LICENCE_WORDS = ("licen", "copyright", "spdx-", "all rights reserved")
_BLOCK_ENDS = {"/*": "*/", "<!--": "-->", "(*": "*)"}
_LONGEST_LICENCE = 60  # rows


def licence_rows(lines: Lines) -> int:
    """The last row of the licence comment that the file begins with; -1 for none."""
    row, block_end, last, begun = 0, "", -1, False
    while row < min(len(lines), _LONGEST_LICENCE):
        line = lines.lines[row].strip()
        if block_end:
            last = row
            if block_end in line:
                block_end = ""
        elif not line:
            if begun:
                break
        elif line.startswith(_COMMENT_STARTS) and not line.startswith(("#include", "#define", "#if", "#pragma")):
            begun, last = True, row
            mark = next((mark for mark in _BLOCK_ENDS if line.startswith(mark)), "")
            if mark and _BLOCK_ENDS[mark] not in line:
                block_end = _BLOCK_ENDS[mark]
        else:
            break
        row += 1
    if block_end or last < 0 or lines.small((0, last)):
        return -1
    said = lines.text((0, last)).lower()
    return last if any(word in said for word in _LICENCE_WORDS) else -1
