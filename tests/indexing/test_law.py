"""The law of the index: every line that is not blank is in exactly one chunk, whatever the language and its state.

Judged by the texts of the chunks, over every grammar, on whole, generated and mutilated sources.
"""

from __future__ import annotations

import math
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedserve.indexing import chunk as chunk_module
from embedserve.indexing.chunk import Cut, chunk_text
from embedserve.indexing.cut import Part
from embedserve.indexing.languages import LANGUAGES, Language, language_of
from embedserve.indexing.syntax import Outline, TooSlow
from embedserve.indexing.text import MAX_CHARS, Breaks, Lines

PHRASES = """
def name(value): | class Name: |   return value | fn add(a: i32) -> i32 {
 func (s *Store) Get(k string) error { | }|}; | end | <div class="x"> | </div> | {{- if .Values.on }}
 key: value |   - item | [table] | key = "value" | key: | text|select a, b from t where x = 1;
 create table t (a int, b text); | # comment | // comment | /* block | */ | -- comment|\"\"\" | ''' | ` | "
 ' | ${ | #{ | <<<<<<< ours | ======= | >>>>>>> theirs | contract C { | impl<T> Store<T> for X {
export const add = (a, b) => { | module.exports.x = function () { | defmodule A do | def run(x) do|@decorator
 #[inline] | package p | import os | #include <x.h> | template <typename T> | namespace a::b {
 resource "a" "b" {|let x = | match x with | ## Title | === | ```sh | ``` | interface A extends B {
 public static void main(String[] args) { | val x: Int = 1|\t\tx
""".replace("\n", "|").split("|")
ODD = list("ab (){}\n\r\t\"'#:-=é")
LANGUAGES_WITH_GRAMMAR = [language for language in LANGUAGES if language.grammar]


def assert_law(text: str, language: Language, window: int = 0) -> Cut:
    cut = chunk_text("a" + (language.extensions or ("",))[0], text, language, window)
    lines = Lines(text, window)
    taken: dict[int, str] = {}
    for chunk in cut.chunks:
        own = chunk.text.split("\n")
        assert chunk.end_line - chunk.start_line + 1 == len(own)
        for offset, line in enumerate(own):
            row = chunk.start_line - 1 + offset
            assert row not in taken or len(own) == 1, f"row {row} is in two chunks"
            taken[row] = taken.get(row, "") + line
        assert len(own) == 1 or lines.fill((chunk.start_line - 1, chunk.end_line - 1)) <= 1.1
    for row, line in enumerate(lines.lines):
        if not lines.blank[row]:
            assert "".join(taken.get(row, "").split()) == "".join(line.split()), f"row {row} is not whole"
    assert len({chunk.id for chunk in cut.chunks}) == len(cut.chunks)
    return cut


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """A hang fails the test instead of the run."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def source(seed: int, lines: int) -> str:
    """Phrases of all languages at random indents, some lines very long."""
    rng = random.Random(seed)
    made = []
    for _ in range(lines):
        phrase = rng.choice(PHRASES)
        indent = " " * rng.choice((0, 0, 2, 4, 8))
        length = rng.choice((1, 1, 1, 1, 2, 8, 60)) if rng.random() < 0.2 else 1
        made.append(indent + phrase * length + rng.choice(("", "", "", "\r", "\x0c", "\u2028", "é", "🙂")))
    return rng.choice(("\n", "\n", "\r\n")).join(made)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_no_line_is_lost_in_any_language(language: Language) -> None:
    with within(60):
        for seed in range(12):
            assert_law(source(seed, 40 * (seed % 4 + 1)), language, 256 * (seed % 2))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(PHRASES) | st.text(st.sampled_from(ODD), max_size=60), max_size=80),
    st.sampled_from(LANGUAGES_WITH_GRAMMAR),
    st.sampled_from((0, 40, 256)),
)
def test_no_line_is_lost_of_generated_sources(rows: list[str], language: Language, window: int) -> None:
    assert_law("\n".join(rows), language, window)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1400), max_size=30), st.sampled_from(("a.py", "a.md", "a.yaml", "a.rst", "a.json")))
def test_cutting_ends_for_rows_of_any_length(lengths: list[int], name: str) -> None:
    """Once a short row before one of about 1,140 characters was put back and taken again, for ever."""
    language = language_of(name)
    assert language is not None
    with within(10):
        assert_law("\n".join("x" * length for length in lengths), language)


@pytest.mark.parametrize("long", range(1095, 1155, 3))
def test_a_short_row_before_a_long_one_does_not_hang(long: int) -> None:
    language = language_of("a.md")
    assert language is not None
    with within(10):
        assert_law("# How it is made\n\n" + "The release " * (long // 12) + "\n\nend\n", language)
        assert_law("short\n" + "y" * long, language)


CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.glob("*.*")))
def test_files_that_hung_the_cutter_or_lost_lines_keep_every_line(name: str) -> None:
    language = language_of(name)
    assert language is not None
    with within(10):
        assert_law((CASES / name).read_text(), language)


def test_a_bare_carriage_return_ends_a_line() -> None:
    language = language_of("a.py")
    assert language is not None
    rows = [f"def name{i}(value):  # of an old editor, a line of some length" for i in range(40)]
    chunks = assert_law("\r".join(rows), language).chunks
    assert (chunks[0].start_line, chunks[-1].end_line) == (1, 40)
    assert "\r" not in "".join(chunk.text for chunk in chunks)


def test_what_a_faulty_cutter_loses_is_cut_by_paragraphs_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = chunk_module.cut
    language = language_of("a.py")
    assert language is not None

    def faulty(lines: Lines, outline: object, root: object, deadline: float = math.inf) -> list[Part]:
        parts = real(lines, outline, root, deadline)  # type: ignore[arg-type]
        return parts if outline is None else parts[1:]

    monkeypatch.setattr(chunk_module, "cut", faulty)
    text = "".join(f"def name{i}(value):\n    return value + {i}  # and so on, for a while\n\n\n" for i in range(5))
    cut = assert_law(text, language)
    assert "2 lines were left out" in cut.fallback


def test_a_file_that_takes_too_long_to_parse_is_cut_by_paragraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    language = language_of("a.py")
    assert language is not None
    monkeypatch.setattr(chunk_module, "SECONDS_A_FILE", -1.0)
    with pytest.raises(TooSlow):
        chunk_module._outline(Lines("x = 1\n" * 100_000), language, time.monotonic() - 1)
    cut = assert_law("x = 1\n" * 100_000, language)
    assert cut.fallback.startswith("not parsed and cut within")


def test_cutting_what_was_parsed_has_the_same_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    language = language_of("a.py")
    assert language is not None
    monkeypatch.setattr(chunk_module, "SECONDS_A_FILE", 0.5)
    breaks = Outline.breaks

    def slow(outline: Outline, lines: Lines, first: int, last: int) -> Breaks:
        time.sleep(0.6)
        return breaks(outline, lines, first, last)

    monkeypatch.setattr(Outline, "breaks", slow)
    cut = assert_law("x = 1\n" * 1000, language)
    assert cut.fallback.startswith("not parsed and cut within")


def test_chunks_fit_the_models_window_and_parts_keep_the_signature() -> None:
    language = language_of("a.py")
    assert language is not None
    body = "".join(f"        self.values[{i}] = compute(values[{i}], other.get('{i}', 0))\n" for i in range(60))
    text = f"class Store:\n    def update(self, values, other):\n{body}"
    wide, narrow = assert_law(text, language, 8192).chunks, assert_law(text, language, 256).chunks
    assert len(narrow) > 1.4 * len(wide)
    assert narrow[0].defines[-1:] == ("update",)
    for part in narrow[1:]:
        assert part.defines == ()
        assert part.scope == ("Store", "update")
        assert part.definition == (2, 62)
        assert part.embedded_text.startswith("def update(self, values, other):\n")
    assert max(len(chunk.text) for chunk in wide) <= 1.1 * MAX_CHARS


def test_a_licence_is_the_same_chunk_in_every_file() -> None:
    language = language_of("a.go")
    assert language is not None
    licence = "// Copyright 2024 The Authors. All rights reserved.\n// Use of this source is governed by a licence.\n"
    rest = "\n\nfunc Add(first int, second int) int {\n\treturn first + second\n}\n"
    first = assert_law(licence + "\npackage one" + rest, language).chunks[0]
    second = assert_law(licence + "\npackage two" + rest * 3, language).chunks[0]
    assert first.kind == second.kind == "licence"
    assert first.digest == second.digest
