"""The cells of a Jupyter notebook as text whose lines have the numbers that they have in the file.

Jupyter writes each line of a cell as a line of its own. So each row of the text is the source line that the same row
of the file holds, and an empty row where the file holds anything else: outputs and pictures are not indexed. Rows of
cells that are no code begin with `# `, as jupytext writes them. A notebook that some other tool wrote on one line has
the line numbers that it gets once Jupyter saves it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from embedserve.indexing.decode import NotText

_OPENED = re.compile(r'^\s*"(?:source|input)": \[$')
_WHOLE = re.compile(r'^\s*"(?:source|input)": (".*"),?$')
_ITEM = re.compile(r'^\s*(".*"),?$')


def notebook(text: str) -> tuple[str, str]:
    """(rows, name of the kernel's language or ""). Raises NotText for what is no notebook."""
    try:
        parsed = json.loads(text)
        cells = [(cell["cell_type"] == "code", source) for cell, source in _cells(parsed) if source]
        language = _language(parsed)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise NotText("not a readable notebook") from None
    for form in (text, _as_jupyter_saves_it(parsed)):
        if (rows := _rows(form.split("\n"), cells)) is not None:
            return "\n".join(rows), language
    return "\n\n".join(_marked(source, is_code) for is_code, source in cells), language


def _cells(parsed: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Cells with their source. Before version 4 they were in `worksheets`, and code was `input`."""
    sheets = parsed.get("worksheets", [parsed])
    for cell in (cell for sheet in sheets for cell in sheet["cells"]):
        source = cell["source"] if "source" in cell else cell.get("input", "")
        yield cell, source if isinstance(source, str) else "".join(source)


def _language(parsed: dict[str, Any]) -> str:
    metadata = parsed.get("metadata", {})
    name = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language")
    return str(name or "").lower()


def _as_jupyter_saves_it(parsed: dict[str, Any]) -> str:
    for cell, source in _cells(parsed):
        cell["source" if "source" in cell else "input"] = source.splitlines(keepends=True)
    return json.dumps(parsed, indent=1, ensure_ascii=False)


def _rows(lines: list[str], cells: list[tuple[bool, str]]) -> list[str] | None:
    """One row for each line of the file; None: the cells' lines are not lines of this file."""
    rows, left = [""] * len(lines), iter(cells)
    upcoming = next(left, None)
    for block in _blocks(lines):
        if upcoming is not None and upcoming[1] == "".join(text for _row, text in block):
            for row, text in block:
                rows[row] = _marked(text.removesuffix("\n"), upcoming[0])
            upcoming = next(left, None)
    return rows if upcoming is None else None


def _blocks(lines: list[str]) -> Iterator[list[tuple[int, str]]]:
    """What may be the lines of a cell: (row, text) of each `"source": [...]` whose items are one row each."""
    block: list[tuple[int, str]] | None = None
    for row, line in enumerate(lines):
        item = _ITEM.match(line.rstrip("\r"))
        if block is not None and item:
            block.append((row, _string(item[1])))
        elif block is not None:
            yield block
            block = None
        if _OPENED.match(line.rstrip("\r")):
            block = []
        elif whole := _WHOLE.match(line.rstrip("\r")):
            yield [(row, _string(whole[1]))]


def _string(quoted: str) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError:
        return ""  # several strings on one row: no line of a cell


def _marked(source: str, is_code: bool) -> str:
    """Prose as comments, so that the rows together are source code."""
    return source if is_code else "\n".join(f"# {line}" if line.strip() else line for line in source.split("\n"))
