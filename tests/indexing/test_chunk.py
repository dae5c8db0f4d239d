"""How files are cut, and the names that the clients' index depends on."""

from __future__ import annotations

import socket
import sysconfig

import pytest

from embedserve.indexing.chunk import Chunk, chunk_text
from embedserve.indexing.languages import LANGUAGES, find_language, language_of, parser_for

STDLIB = sysconfig.get_path("stdlib")

PYTHON = '''"""A module that shows how a file is cut into pieces."""

import os
import sys

LIMIT = 10  # how many


# Adds one to what it is given,
# and tells why.
@decorated
def first(value):
    """Return the value after one was added to it."""
    return value + 1


class Small:
    """A class that fits into one piece as a whole."""

    def method(self):
        return "a method of the small class"


class Large:
    """A class that does not fit into one piece."""

    def alpha(self):
        return "{alpha}"

    def beta(self):
        return "{beta}"


def tail():
    return "the last function of this file, with some text"
'''


def chunks(text: str, name: str = "a.py", window: int = 0) -> list[Chunk]:
    language = language_of(name)
    assert language is not None
    cut = chunk_text(name, text, language, window)
    assert cut.fallback == ""
    return cut.chunks


def pieces(text: str, name: str = "a.py", window: int = 0) -> list[tuple[int, int, str]]:
    return [(chunk.start_line, chunk.end_line, chunk.text) for chunk in chunks(text, name, window)]


def test_python_is_cut_along_its_definitions_with_the_comments_above_them() -> None:
    text = PYTHON.replace("{alpha}", "a" * 600).replace("{beta}", "b" * 600)
    cut = pieces(text)
    starts = [piece[2].lstrip().split("\n")[0] for piece in cut]
    assert starts == [
        '"""A module that shows how a file is cut into pieces."""',
        "# Adds one to what it is given,",
        "class Small:",
        "class Large:",
        "def alpha(self):",
        "def beta(self):",
        "def tail():",
    ]
    for start, end, body in cut:
        assert body == "\n".join(text.split("\n")[start - 1 : end])


def test_a_function_that_is_too_large_is_cut_between_statements_into_equal_parts() -> None:
    body = "".join(f"    value_{i} = compute_something(value_{i - 1}, {i})\n" for i in range(1, 60))
    cut = pieces(f"def long(value_0):\n{body}    return value_59\n")
    sizes = [len(piece[2]) for piece in cut]
    assert len(cut) == 3
    assert max(sizes) <= 1150
    assert max(sizes) < 1.35 * min(sizes)
    assert [piece[0] for piece in cut[1:]] == [piece[1] + 1 for piece in cut[:-1]]


def test_a_signature_is_never_cut_off_from_its_function() -> None:
    """Once, `def acquire(self):` was dropped as too small beside a body that just fitted."""
    body = "".join(f"        self.take_number({i:03})  # again\n" for i in range(30))
    cut = pieces(f"class Semaphore(Mixin):\n\n    def acquire(self):\n{body}\n\nclass Other:\n    pass\n")
    assert cut[0][2].startswith("class Semaphore(Mixin):\n\n    def acquire(self):\n")
    assert sum(len(piece[2]) for piece in cut) > len(body)


SOURCES = {
    "a.go": "package p\n\n// Adds two numbers and returns them.\nfunc Add(a int, b int) int {\n\treturn a + b\n}",
    "a.rs": "/// Adds two numbers together.\n#[inline]\npub fn add(a: i32, b: i32) -> i32 {\n    a + b // the sum\n}",
    "a.ts": "// Adds two numbers together.\nexport function add(a: number, b: number): number {\n  return a + b;\n}",
    "a.tsx": "// Shows a greeting.\nexport const Add = (props: Props) => {\n  return <p>Hello {props.name}</p>;\n};",
    "a.java": "/** Adds for everyone. */\nclass Adder {\n  int add(int a, int b) {\n    return a + b;\n  }\n}",
    "a.c": "/* Adds two numbers together. */\nint add(int a, int b)\n{\n    return a + b;\n}",
    "a.cs": "/// <summary>Adds.</summary>\nclass Adder {\n  int Add(int a, int b) => a + b; // the sum\n}",
    "a.rb": "# Adds two numbers together.\ndef add(a, b)\n  a + b # this is the sum of the two\nend",
    "a.kt": "/** Adds two numbers together. */\nfun add(a: Int, b: Int): Int {\n    return a + b\n}",
    "a.sh": '# Prints what was added for a person.\nadd() {\n  echo "hello $1, how are you"\n}',
}


@pytest.mark.parametrize("name", SOURCES)
def test_other_languages_keep_a_definition_with_its_comment(name: str) -> None:
    imports = "\n".join(f"import something_number_{i};" for i in range(40)) if name not in ("a.go", "a.c") else ""
    cut = pieces(imports + "\n\n" + SOURCES[name] + "\n", name)
    expected = SOURCES[name].removeprefix("package p\n\n")
    assert expected in [piece[2].removeprefix("package p\n\n") for piece in cut]


def test_every_grammar_is_inside_its_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """No parser may reach for the network."""
    monkeypatch.setattr(socket, "socket", None)
    for language in LANGUAGES:
        parser = parser_for(language)
        assert (parser is None) == (language.grammar is None)
        if parser:
            assert parser.parse(b"x").root_node is not None


def test_a_language_is_found_by_its_name_and_by_an_extension() -> None:
    assert find_language("Python") is find_language("py") is find_language(".py")
    assert find_language("nonsense") is None


def test_markdown_is_cut_at_headers_but_not_inside_code_blocks() -> None:
    text = f"# Title\n\n## One\n{'one ' * 40}\n\n```sh\n# not a header\n{'run ' * 20}\n```\n\nTwo\n---\n{'two ' * 40}\n"
    cut = chunks(text, "a.md")
    assert [chunk.text.split("\n")[0] for chunk in cut] == ["# Title", "Two"]
    assert "# not a header" in cut[0].text
    assert cut[1].scope == ("Title", "Two")


def test_an_endless_line_becomes_segments_with_ids_of_their_own() -> None:
    line = "".join(f"word{i} " for i in range(2000))
    cut = chunks("short\n" + line, "a.vue")
    assert "".join(chunk.text for chunk in cut if chunk.start_line == 2) == line
    assert len({chunk.id for chunk in cut}) == len(cut)


def test_deeply_nested_code_is_cut_too() -> None:
    assert pieces("x = " + "(" * 3000 + "1" + ")" * 3000 + "\n" + "y = [\n" * 1500)


def test_text_without_line_breaks_that_fits_is_one_piece() -> None:
    assert [text for _, _, text in pieces("word " * 20, "a.proto")] == ["word " * 20]
