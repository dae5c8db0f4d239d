"""The outline of a Markdown file: its sections, nested by the level of their headers (`#` and underlined ones).

Code blocks are not looked into: a `#` inside one is no header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from embedserve.indexing.syntax import Definition
from embedserve.indexing.text import Lines

_FENCE = re.compile(r" {0,3}(```|~~~)")
_HEADER = re.compile(r" {0,3}(#{1,6})(?:\s+(.*?))?\s*#*\s*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{3,})\s*$")


def read_sections(lines: Lines) -> Definition:
    """The file as a definition without a name, its sections inside."""
    root = Definition("file", (), 0, 0, 0, len(lines) - 1)
    open_sections: list[tuple[int, Definition]] = [(0, root)]
    for row, level, title in headers(lines):
        while open_sections[-1][0] >= level:
            open_sections.pop()[1].last = row - 1
        parent = open_sections[-1][1]
        section = Definition(
            "section", (title,) if title else (), row, row, row + 1, len(lines) - 1, parent.path, cuts=True
        )
        parent.inner.append(section)
        open_sections.append((level, section))
    return root


def headers(lines: Lines) -> Iterator[tuple[int, int, str]]:
    """Row, level and title of each header."""
    fence = ""
    for row, line in enumerate(lines.lines):
        if match := _FENCE.match(line):
            fence = "" if fence == match[1] else fence or match[1]
        if fence or match:
            continue
        if header := _HEADER.match(line):
            yield row, len(header[1]), (header[2] or "").strip()
        elif row + 1 < len(lines) and not lines.blank[row] and (row == 0 or lines.blank[row - 1]):
            underline = _UNDERLINE.match(lines.lines[row + 1])
            if underline and line.strip() != "---":
                yield row, 1 if "=" in underline[1] else 2, line.strip()
