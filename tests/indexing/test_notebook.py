"""Jupyter notebooks: cells are text, at the lines where the file has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedserve.indexing.chunk import chunk_text
from embedserve.indexing.decode import NotText
from embedserve.indexing.languages import language_of
from embedserve.indexing.load import load
from embedserve.indexing.notebook import notebook
from embedserve.indexing.walk import walk


def saved(cells: list[dict[str, Any]], language: str = "python") -> str:
    """As Jupyter saves it."""
    metadata = {"language_info": {"name": language}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4}, indent=1, ensure_ascii=False) + "\n"


def cell(source: str, kind: str = "code", **more: Any) -> dict[str, Any]:
    return {"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True), **more}


def test_a_function_in_a_cell_is_a_chunk_with_the_lines_of_the_file() -> None:
    output = {"output_type": "display_data", "data": {"image/png": "iVBOR" * 9000, "text": ["x = 'no source'\n"]}}
    body = "def fitted(curve):\n" + "".join(f"    step_{n} = curve.next({n})\n" for n in range(9)) + "    return curve"
    text = saved([cell("# The fit\n\nBy hand.", "markdown"), cell(""), cell(body, outputs=[output])])
    loaded = load(text.encode(), "a/fit.ipynb", language_of("fit.ipynb"), "")  # type: ignore[arg-type]
    assert loaded.language.name == "python"
    chunks = chunk_text("a/fit.ipynb", loaded.text, loaded.language).chunks
    found = next(chunk for chunk in chunks if "fitted" in chunk.defines)
    first = next(row for row, line in enumerate(text.split("\n"), 1) if "def fitted" in line)
    last = next(row for row, line in enumerate(text.split("\n"), 1) if "return curve" in line)
    assert (found.start_line <= first, found.end_line) == (True, last)
    everything = "\n".join(chunk.text for chunk in chunks)
    assert "By hand." in everything
    assert "iVBOR" not in everything
    assert "no source" not in everything


LINES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=4)
CELLS = st.lists(st.tuples(LINES, st.sampled_from(["code", "markdown", "raw"])), max_size=5)


@settings(max_examples=150, deadline=None)
@given(CELLS, st.sampled_from([None, 1, 4]), st.booleans(), st.booleans())
def test_every_line_of_every_cell_is_there_in_order(
    cells: list[tuple[list[str], str]], indent: int | None, ascii_only: bool, as_one_string: bool
) -> None:
    sources = [("\n".join(lines), kind) for lines, kind in cells]
    made = [
        {"cell_type": kind, "source": source if as_one_string else source.splitlines(keepends=True)}
        for source, kind in sources
    ]
    text, _language = notebook(json.dumps({"cells": made, "nbformat": 4}, indent=indent, ensure_ascii=ascii_only))
    written = "".join(line for source, _kind in sources for line in source)
    assert "".join(text.replace("#", "").split()) == "".join(written.replace("#", "").split())


def test_rows_are_those_of_the_file_whichever_tool_indented_it() -> None:
    made = {"cells": [cell("a = 1\nb = 2\n"), cell("text", "markdown")], "metadata": {}, "nbformat": 4}
    for indent in (1, 2, 4):
        text = json.dumps(made, indent=indent)
        rows = notebook(text)[0].split("\n")
        at = {line: number for number, line in enumerate(rows) if line}
        assert list(at) == ["a = 1", "b = 2", "# text"]
        assert '"b = 2\\n"' in text.split("\n")[at["b = 2"]]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cells": 3}', '{"cells": [{"source": "x"}]}', "[" * 100_000])
def test_what_is_no_notebook_is_said_not_guessed(text: str) -> None:
    with pytest.raises(NotText, match="not a readable notebook"):
        notebook(text)


def test_notebooks_of_version_3_and_of_other_kernels() -> None:
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["x <- 1\n", "y"]}]}], "nbformat": 3}
    assert notebook(json.dumps(old, indent=1))[0].split() == ["x", "<-", "1", "y"]
    assert notebook(saved([cell("1")], "R"))[1] == "r"
    loaded = load(saved([cell("x <- 1")], "R").encode(), "a.ipynb", language_of("a.ipynb"), "")  # type: ignore[arg-type]
    assert loaded.language.name == "r"


def test_a_notebook_may_be_larger_than_other_files_for_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "large.ipynb").write_text(saved([cell("x = 1", outputs=["p" * 2_000_000])]))
    (tmp_path / "large.py").write_text("x = 1\n" * 400_000)
    found = walk(str(tmp_path))
    assert [file.relative for file in found.files] == ["large.ipynb"]
    assert found.skipped == {"over 1 MiB": 1}
