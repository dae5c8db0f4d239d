"""Cuts a run of lines into pieces: every line goes into exactly one, by construction.

A piece is a span of whole lines, (first, last) counted from 0, last included. `split` cuts a span into consecutive
spans that fit, of about equal size, at the rows where a cut does least harm (`Breaks`); each turn takes at least
one row, so it ends on any input. Only a single line can be larger than a piece; `segments` cuts it by characters.

How large a piece may be is a matter of characters (what the clients of such an index send, 50 to 1150) and of the
model's window (texts beyond it are cut off in silence by every server). Tokens are estimated here, since the
tokenizer is the server's: see `estimated_tokens`.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

MIN_CHARS = 50
MAX_CHARS = 1150
SEGMENT_CHARS = 1000
# Tokens that a piece leaves free: the model's two special ones, and small neighbours that join it.
SPARE_TOKENS = 16

Span = tuple[int, int]
Breaks = Callable[[int], float]
"""What a cut before a row costs: 0 is the best place, 1 a bad one (the middle of a statement)."""

_LINE_END = re.compile(r"\r\n?")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NO_DENSE = str.maketrans("", "", string.punctuation + string.digits)


def estimated_tokens(line: str) -> float:
    """About how many tokens a WordPiece or BPE tokenizer makes of a line of code or prose.

    Punctuation and digits cost about a token each, three letters one, letters beyond ASCII one each. Against
    MiniLM's tokenizer on 17,000 runs of 25 lines (Python, Markdown; English and Ukrainian) the true number is
    below 1.1 times the estimate for 90 % of them; that factor is included.
    """
    words = line.split()
    dark = "".join(words)
    letters = dark.translate(_NO_DENSE)
    beyond = 0 if line.isascii() else sum(character > "\x7f" for character in line)
    estimate = 1.05 * (len(dark) - len(letters)) + 0.39 * (len(letters) - beyond) + 1.25 * beyond - 0.45 * len(words)
    return estimate if estimate >= 1 else max(estimate, 1.0 if line.translate(_NO_PUNCTUATION) else 0.0)


@dataclass(frozen=True)
class Piece:
    """Lines `first` to `last` from 0, or a segment of one line that begins at character `column`."""

    first: int
    last: int
    text: str
    column: int | None = None


class Lines:
    """A file's lines, with the size of any run of them in constant time.

    `window`: tokens that the model reads of a text; 0 where it is unknown or large. A line ends at \\n, \\r\\n or \\r,
    as in editors; form feeds and Unicode's line separators are characters of a line.
    """

    def __init__(self, text: str, window: int = 0) -> None:
        self.joined = _LINE_END.sub("\n", text)
        self.lines = self.joined.split("\n")
        self.blank = [not line or line.isspace() for line in self.lines]
        self._chars = [0, *accumulate(len(line) + 1 for line in self.lines)]
        self._tokens: list[float] = []
        self._room = float(max(window - SPARE_TOKENS, 32))
        if 0 < window < MAX_CHARS:
            self._tokens = [0, *accumulate(estimated_tokens(line) for line in self.lines)]

    def __len__(self) -> int:
        return len(self.lines)

    def size(self, span: Span) -> int:
        """Characters of the run, its last line break not counted."""
        return self._chars[span[1] + 1] - self._chars[span[0]] - 1

    def fill(self, span: Span, reserved: float = 0.0) -> float:
        """How full a piece of these lines is; it fits at 1 or less. `reserved`: tokens taken by what goes with it."""
        fill = self.size(span) / MAX_CHARS
        if self._tokens:
            tokens = self._tokens[span[1] + 1] - self._tokens[span[0]]
            fill = max(fill, tokens / max(self._room - reserved, self._room / 2))
        return fill

    def text(self, span: Span) -> str:
        return "\n".join(self.lines[span[0] : span[1] + 1])

    def small(self, span: Span) -> bool:
        """Says nothing by itself."""
        return self.size(span) < MIN_CHARS or len(self.text(span).strip()) < MIN_CHARS

    def trimmed(self, span: Span) -> Span | None:
        """Without the blank lines at both ends; None: nothing is left."""
        first, last = span
        while first <= last and self.blank[first]:
            first += 1
        while last > first and self.blank[last]:
            last -= 1
        return (first, last) if first <= last else None


def paragraph_breaks(lines: Lines) -> Breaks:
    """Cuts of a text of no known syntax: after a blank line, else before a line that is not indented further."""

    def cost(row: int) -> float:
        if row == 0 or lines.blank[row - 1]:
            return 0.0
        line = lines.lines[row]
        return 0.4 + min((len(line) - len(line.lstrip())) / 40, 0.4)

    return cost


def split(lines: Lines, span: Span, breaks: Breaks, reserved: float = 0.0) -> Iterator[Span]:
    """Consecutive spans that fit and together are `span`. `reserved`: tokens that go with each but the first."""
    first, last = span
    kept = 0.0
    while first <= last:
        whole = lines.fill((first, last), kept)
        if whole <= 1:
            yield (first, last)
            return
        end = _best_end(lines, (first, last), whole / math.ceil(whole), breaks, kept)
        yield (first, end)
        first, kept = end + 1, reserved


def _best_end(lines: Lines, span: Span, target: float, breaks: Breaks, reserved: float) -> int:
    """The last row of the first piece: near `target`, and where a cut costs little. At least one row."""
    first, last = span
    best, best_cost = first, math.inf
    for row in range(first, last):
        fill = lines.fill((first, row), reserved)
        if fill > 1:
            break
        uneven = abs(fill - target) / target
        cost = breaks(row + 1) + 1.5 * uneven + (2.0 if lines.size((first, row)) < MIN_CHARS else 0.0)
        if cost <= best_cost:
            best, best_cost = row, cost
    return best


def segments(lines: Lines, row: int) -> Iterator[Piece]:
    """One line that is larger than a piece, by characters: together they are the line."""
    line = lines.lines[row]
    fill = lines.fill((row, row))
    step = min(SEGMENT_CHARS, max(int(len(line) / fill * 0.9), MIN_CHARS))
    for column in range(0, len(line), step):
        segment = line[column : column + step]
        if segment.strip():
            yield Piece(row, row, segment, column)
