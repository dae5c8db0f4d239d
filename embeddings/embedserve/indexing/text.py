"""Cuts text into pieces of 50 to 1150 characters along lines; Markdown along its headers.

The unit is a span: a run of whole lines, (first, last) counted from 0, last included. `pack` takes consecutive
spans that belong together (the statements of a function, say) and joins them into pieces of about equal
size, never cutting inside a span that fits. A span that is too large is cut along its paragraphs, then
its lines; a line that is too long becomes segments of 1000 characters. Pieces under 50 characters are dropped,
as the clients do: they say nothing by themselves.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

MIN_CHARS = 50
MAX_CHARS = 1150
SEGMENT_CHARS = 1000

Span = tuple[int, int]


@dataclass(frozen=True)
class Piece:
    """Lines `first` to `last` from 0, or a segment of one line that begins at character `column`."""

    first: int
    last: int
    text: str
    column: int | None = None


class Lines:
    """A file's lines, with the size of any run of them in constant time."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self._ends = [0, *accumulate(len(line) + 1 for line in self.lines)]

    def __len__(self) -> int:
        return len(self.lines)

    def size(self, span: Span) -> int:
        """Characters of the run, its last line break not counted."""
        return self._ends[span[1] + 1] - self._ends[span[0]] - 1

    def text(self, span: Span) -> str:
        return "\n".join(self.lines[span[0] : span[1] + 1])

    def blank(self, row: int) -> bool:
        return not self.lines[row].strip()


def cut_lines(lines: Lines) -> Iterator[Piece]:
    """A text of no known syntax: paragraphs, packed."""
    return pack(lines, paragraphs(lines, (0, len(lines) - 1)))


def cut_markdown(lines: Lines) -> Iterator[Piece]:
    """One piece for each section; a section too small joins the next, one too large is cut along paragraphs."""
    section: list[Span] = []
    for span in sections(lines):
        section.append(span)
        if lines.size((section[0][0], span[1])) >= 2 * MIN_CHARS:
            yield from _pack_section(lines, section)
            section = []
    if section:
        yield from _pack_section(lines, section)


def _pack_section(lines: Lines, section: Sequence[Span]) -> Iterator[Piece]:
    return pack(lines, paragraphs(lines, (section[0][0], section[-1][1])))


_FENCE = re.compile(r" {0,3}(```|~~~)")
_HEADER = re.compile(r" {0,3}#{1,6}(\s|$)")
_UNDERLINE = re.compile(r" {0,3}(=+|-{3,})\s*$")


def sections(lines: Lines) -> Iterator[Span]:
    """The runs of lines between Markdown headers (`#` and underlined ones), code blocks not looked into."""
    start, fence = 0, ""
    for row, line in enumerate(lines.lines):
        if match := _FENCE.match(line):
            fence = "" if fence == match[1] else fence or match[1]
        if fence or match:
            continue
        underlined = row + 1 < len(lines) and line.strip() and _UNDERLINE.match(lines.lines[row + 1])
        after_text = row > 0 and not lines.blank(row - 1)
        if row > start and (_HEADER.match(line) or (underlined and not after_text)):
            yield (start, row - 1)
            start = row
    yield (start, len(lines) - 1)


def paragraphs(lines: Lines, span: Span) -> Iterator[Span]:
    """The runs of lines between blank ones; a run too large is given line by line."""
    start = None
    for row in range(span[0], span[1] + 2):
        if row <= span[1] and not lines.blank(row):
            start = row if start is None else start
        elif start is not None:
            yield from [(start, row - 1)] if lines.size((start, row - 1)) <= MAX_CHARS else _rows((start, row - 1))
            start = None


def _rows(span: Span) -> Iterator[Span]:
    return ((row, row) for row in range(span[0], span[1] + 1))


def pack(lines: Lines, spans: Iterable[Span]) -> Iterator[Piece]:
    """Join consecutive spans into pieces of MIN_CHARS to MAX_CHARS of about equal size."""
    small = [part for span in spans for part in _fitting(lines, span)]
    run: list[Span] = []
    for span in small:
        if lines.size(span) > MAX_CHARS:  # one long line
            yield from _pack_run(lines, run)
            yield from _segments(lines, span[0])
            run = []
        else:
            run.append(span)
    yield from _pack_run(lines, run)


def _fitting(lines: Lines, span: Span) -> Iterator[Span]:
    if lines.size(span) <= MAX_CHARS:
        yield span
    else:
        yield from paragraphs(lines, span)


def _pack_run(lines: Lines, run: Sequence[Span]) -> Iterator[Piece]:
    if not run:
        return
    total = lines.size((run[0][0], run[-1][1]))
    target = total / math.ceil(total / MAX_CHARS)
    rest = deque(run)
    done: list[Span] = []
    while rest:
        first, last = rest.popleft()
        while rest:
            grown, small = lines.size((first, rest[0][1])), lines.size((first, last)) < MIN_CHARS
            if grown > MAX_CHARS and small:  # not without the signature: take what fits of the span
                rest.extendleft(reversed(list(_rows(rest.popleft()))))
            elif grown > MAX_CHARS or (grown > 1.1 * target and not small):
                break
            else:
                last = rest.popleft()[1]
        done.append((first, last))
    for span in _without_scrap(lines, done):
        yield from _piece(lines, span)


def _without_scrap(lines: Lines, done: list[Span]) -> list[Span]:
    """A last piece too small for itself is evened out with the one before."""
    if len(done) < 2 or lines.size(done[-1]) >= MIN_CHARS:
        return done
    first, last = done[-2][0], done[-1][1]
    if lines.size((first, last)) <= MAX_CHARS:
        return [*done[:-2], (first, last)]
    half = lines.size((first, last)) / 2
    middle = next(row for row in range(first, last + 1) if lines.size((first, row)) >= half)
    middle = min(middle, last - 1)
    if lines.size((first, middle)) > MAX_CHARS or middle < first:
        return done
    return [*done[:-2], (first, middle), (middle + 1, last)]


def _piece(lines: Lines, span: Span) -> Iterator[Piece]:
    text = lines.text(span)
    if len(text.strip()) >= MIN_CHARS:
        yield Piece(span[0], span[1], text)


def _segments(lines: Lines, row: int) -> Iterator[Piece]:
    line = lines.lines[row]
    for column in range(0, len(line), SEGMENT_CHARS):
        segment = line[column : column + SEGMENT_CHARS]
        if len(segment.strip()) >= MIN_CHARS:
            yield Piece(row, row, segment, column)
