"""How files are cut, and the names that the clients' index depends on."""

from __future__ import annotations

import hashlib
import socket
import sysconfig
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedserve.indexing.chunk import NotText, chunk_file, chunk_text, read_text, segment_hash
from embedserve.indexing.languages import LANGUAGES, find_language, language_of, parser_for
from embedserve.indexing.store import MARKER_ID
from embedserve.indexing.text import Lines, cut_lines, cut_markdown
from embedserve.indexing.workspace import collection_name, path_segments

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


def pieces(text: str, name: str = "a.py") -> list[tuple[int, int, str]]:
    language = language_of(name)
    assert language is not None
    return [(c.start_line, c.end_line, c.text) for c in chunk_text("/w/" + name, name, text, language)]


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
    cut = list(cut_markdown(Lines(text)))
    assert [piece.text.split("\n")[0] for piece in cut] == ["# Title", "Two"]
    assert "# not a header" in cut[0].text


def test_an_endless_line_becomes_segments_with_ids_of_their_own() -> None:
    line = "".join(f"word{i} " for i in range(2000))
    language = language_of("a.vue")
    assert language is not None
    chunks = list(chunk_text("/w/a.vue", "a.vue", "short\n" + line, language))
    assert "".join(chunk.text for chunk in chunks) == line
    assert {(chunk.start_line, chunk.end_line) for chunk in chunks} == {(2, 2)}
    assert len({chunk.id for chunk in chunks}) == len(chunks)


ALPHABET = st.sampled_from(list("ab \t\n\n\r#`-=é🙂"))


@settings(max_examples=200, deadline=None)
@given(st.text(ALPHABET, max_size=4000), st.sampled_from(["a.py", "a.md", "a.vue", "a.js", "a.json"]))
def test_any_text_is_cut_into_pieces_of_the_right_size_without_overlap(text: str, name: str) -> None:
    last = 0
    for start, end, body in pieces(text * 3, name):
        assert len(body.strip()) >= 50
        assert len(body) <= 1150
        assert last <= start <= end
        last = end


def test_the_standard_library_is_covered_and_ids_are_unique() -> None:
    for name in ("ast.py", "argparse.py", "asyncio/base_events.py", "typing.py"):
        chunks = chunk_file(STDLIB, name)
        source = (Path(STDLIB) / name).read_text()
        assert sum(len(chunk.text) for chunk in chunks) > 0.97 * len(source)
        assert len({chunk.id for chunk in chunks}) == len(chunks)


def test_deeply_nested_code_is_cut_too() -> None:
    assert pieces("x = " + "(" * 3000 + "1" + ")" * 3000 + "\n" + "y = [\n" * 1500)


def test_binary_files_are_told_by_a_nul_and_other_encodings_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\x7fELF\0\0")
    with pytest.raises(NotText):
        read_text(str(tmp_path / "a.py"))
    (tmp_path / "b.cs").write_bytes("class Größe {}".encode("utf-16"))
    assert read_text(str(tmp_path / "b.cs")).strip("\ufeff") == "class Größe {}"
    (tmp_path / "c.py").write_bytes(b"\xef\xbb\xbfname = 'caf\xe9'")
    assert read_text(str(tmp_path / "c.py")) == "name = 'caf\ufffd'"


def test_names_are_the_clients_own() -> None:
    """Fixed values: a change here would part our indexes from theirs."""
    assert MARKER_ID == "f70bfc2c-6e82-5456-9c20-33b51942337c"  # seen in their requests
    assert collection_name("/home/me/project") == "ws-" + hashlib.sha256(b"/home/me/project").hexdigest()[:16]
    text = "def f():\n" + "🙂" * 60  # the preview ends between the halves of a pair, as in JavaScript
    units = "def f():\n" + "🙂" * 45 + "\ufffd"
    expected = hashlib.sha256(f"/w/a.py-3-4-129-{units}".encode()).hexdigest()
    assert segment_hash("/w/a.py", 3, 4, text) == expected
    namespace = uuid.UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")
    language = language_of("a.py")
    assert language is not None
    chunk = next(chunk_text("/w/src/a.py", "src/a.py", PYTHON, language))
    assert chunk.id == str(uuid.uuid5(namespace, chunk.segment_hash))
    assert chunk.payload().keys() == {
        "filePath", "codeChunk", "startLine", "endLine", "segmentHash", "pathSegments"
    }  # fmt: skip
    assert path_segments("src/a.py") == {"0": "src", "1": "a.py"}


def test_text_without_line_breaks_that_fits_is_one_piece() -> None:
    assert [piece.text for piece in cut_lines(Lines("word " * 20))] == ["word " * 20]
