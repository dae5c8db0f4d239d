"""Edits JSON with comments in place: every byte that is not ours stays.

Python's standard library reads no comments and would write the whole file anew, so this is a small parser that
keeps the place of every value (`parse`), and one pair of edits on top of it:

    insert_block   puts members into an array or object, as its last ones, between two marker comments
    remove_block   its exact inverse while the block is as it was written; otherwise it takes out what is ours,
                   entry by entry, and leaves everything that somebody put among it

What the block's surroundings were like is written into the closing marker, so no other record is needed:
`[c]` a comma was added before the block, `[n]` a line break after it, `[r]` the outermost brackets were added,
`[f]` the file itself was created.

Knows JSON with // and /* */ comments, trailing commas, a BOM, any line ending. Does not know VS Code, nor agents.
Python 3.8, standard library only: scripts/vscode_merge.py uses it too, by whatever python3 there is.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, NamedTuple, NoReturn

BEGIN = "// >>> embedserve: written by scripts/manage.sh vscode install; 'vscode uninstall' takes it out"
BEGIN_START = "// >>> embedserve"
END_START = "// <<< embedserve"
_END = re.compile(re.escape(END_START) + r"(?: \[([a-z]+)\])?")
_SPACE = " \t\r\n"
_SCALAR = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?|true|false|null")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_BREAK = re.compile(r"\r\n|\n|\r")


class JsoncError(Exception):
    """The text is not JSON with comments; says where."""


class Item:
    """A member of an array or object: its place (the key's start to the value's end), and the comma after it."""

    def __init__(self, start: int, key: str | None, node: Node) -> None:
        self.start, self.key, self.node, self.end = start, key, node, node.end
        self.comma: int | None = None


class Node:
    """A value and its place. `items` is None for a string, number or literal."""

    def __init__(self, start: int, end: int, value: Any, items: list[Item] | None = None) -> None:
        self.start, self.end, self.value, self.items = start, end, value, items


class Comment(NamedTuple):
    start: int
    end: int
    text: str


class Document(NamedTuple):
    root: Node | None  # None: nothing but white space and comments
    comments: list[Comment]


def parse(text: str) -> Document:
    """Raises JsoncError with line and column."""
    return _Parser(text).document()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 1 if text.startswith("\ufeff") else 0
        self.comments: list[Comment] = []

    def document(self) -> Document:
        self.skip()
        root = self.value() if self.at < len(self.text) else None
        self.skip()
        if self.at < len(self.text):
            self.fail("nothing may follow the outermost value")
        return Document(root, self.comments)

    def skip(self) -> None:
        text = self.text
        while self.at < len(text):
            if text[self.at] in _SPACE:
                self.at += 1
            elif text.startswith("//", self.at):
                ending = _BREAK.search(text, self.at)
                self.comment(ending.start() if ending else len(text))
            elif text.startswith("/*", self.at):
                end = text.find("*/", self.at + 2)
                if end < 0:
                    self.fail("this comment has no end")
                self.comment(end + 2)
            else:
                return

    def comment(self, end: int) -> None:
        self.comments.append(Comment(self.at, end, self.text[self.at : end]))
        self.at = end

    def value(self) -> Node:
        start = self.at
        if self.text[start : start + 1] in ("{", "["):
            return self.container(start, is_object=self.text[start] == "{")
        match = _STRING.match(self.text, start) or _SCALAR.match(self.text, start)
        if not match:
            self.fail("a value was expected")
        try:
            value = json.loads(match.group())
        except ValueError:
            self.fail("this is not a JSON value")
        self.at = match.end()
        return Node(start, self.at, value)

    def container(self, start: int, is_object: bool) -> Node:
        items: list[Item] = []
        close = "}" if is_object else "]"
        self.at += 1
        self.skip()
        while self.text[self.at : self.at + 1] != close:
            if items and items[-1].comma is None:
                self.fail(f"a comma or '{close}' was expected")
            items.append(self.member() if is_object else Item(self.at, None, self.value()))
            self.skip()
            if self.text[self.at : self.at + 1] == ",":
                items[-1].comma = self.at
                self.at += 1
                self.skip()
        self.at += 1
        value: Any = {i.key: i.node.value for i in items} if is_object else [i.node.value for i in items]
        return Node(start, self.at, value, items)

    def member(self) -> Item:
        start = self.at
        if self.text[start : start + 1] != '"':
            self.fail("a key in double quotes was expected")
        key = self.value().value
        self.skip()
        if self.text[self.at : self.at + 1] != ":":
            self.fail("':' was expected")
        self.at += 1
        self.skip()
        return Item(start, key, self.value())

    def fail(self, what: str) -> NoReturn:
        before = _BREAK.split(self.text[: self.at])
        raise JsoncError(f"line {len(before)}, column {len(before[-1]) + 1}: {what}")


def newline_of(text: str, default: str = "\n") -> str:
    """The file's own line ending."""
    found = _BREAK.search(text)
    return found.group() if found else default


def indent_at(text: str, at: int) -> str | None:
    """The white space before `at` when nothing else is before it on its line, else None."""
    line = _BREAK.split(text[:at])[-1].lstrip("\ufeff")
    return line if not line.strip(" \t") else None


def line_indent(text: str, at: int) -> str:
    """The indentation of the line that `at` is on."""
    line = _BREAK.split(text[:at])[-1].lstrip("\ufeff")
    return line[: len(line) - len(line.lstrip(" \t"))]


def edit(text: str, edits: list[tuple[int, int, str]]) -> str:
    """Applies non-overlapping (start, end, replacement)."""
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def insert_block(text: str, container: Node, entries: list[str], flags: str = "") -> str:
    """`entries` (each one JSON member, its lines parted by \\n) as the container's last members, in our markers."""
    assert container.items is not None
    newline, close = newline_of(text), container.end - 1
    base = line_indent(text, container.start)
    indent = base + ("\t" if base.startswith("\t") else "    ")
    if container.items:
        own = indent_at(text, container.items[-1].start)
        indent = indent if own is None else own
    edits: list[tuple[int, int, str]] = []
    if container.items and container.items[-1].comma is None:
        edits.append((container.items[-1].end, container.items[-1].end, ","))
        flags += "c"
    at, after = len(text[:close].rstrip(_SPACE)), ""
    if not _BREAK.search(text[at:close]):  # the bracket is on this line, and our marker ends with its line
        at, after, flags = close, newline + base, flags + "n"
    ending = END_START + (f" [{flags}]" if flags else "")
    lines = [BEGIN, *",\n".join(entries).split("\n"), ending]
    block = newline + newline.join(indent + line for line in lines) + after
    if edits and edits[0][0] == at:
        edits = [(at, at, "," + block)]
    else:
        edits.append((at, at, block))
    return edit(text, edits)


def wrap(text: str, brackets: str) -> str:
    """A text without a value (empty, or comments alone) with an empty `{}` or `[]` after it."""
    newline = newline_of(text)
    return text + (newline if text else "") + brackets + newline


def unwrap(text: str, brackets: str) -> str:
    """The inverse of `wrap`; the text itself when the brackets are not as they were written."""
    newline = newline_of(text)
    if not text.endswith(brackets + newline):
        return text
    rest = text[: -len(brackets + newline)]
    return rest[: -len(newline)] if rest.endswith(newline) else rest


class Block(NamedTuple):
    begin: Comment
    end: Comment  # our words alone: what follows them on the line, were it a space, is not ours
    flags: str


def find_block(document: Document) -> Block | None:
    begins = [c for c in document.comments if c.text.startswith(BEGIN_START)]
    ends = [c for c in document.comments if c.text.startswith(END_START)]
    if len(begins) != 1 or len(ends) != 1 or begins[0].start > ends[0].start:
        return None
    marker = _END.match(ends[0].text)
    assert marker
    end = Comment(ends[0].start, ends[0].start + marker.end(), marker.group())
    return Block(begins[0], end, marker.group(1) or "")


def remove_block(
    text: str, container: Node, is_ours: Callable[[Item], bool], inner: Node | None = None
) -> tuple[str, bool]:
    """Without our block, and whether it was still as written (then the result is what was there before it).

    `container` holds the block. `inner`: the array inside one of its members from which our entries are taken one
    by one when the block has been changed, so that another's entries in it stay.
    """
    assert container.items is not None
    document = parse(text)
    block = find_block(document)
    inside = [i for i in container.items if block and block.begin.start < i.start < block.end.start]
    if block and _intact(document, block, inside, is_ours):
        return _remove_exactly(text, container, block), True
    target = inner if inner is not None else container
    assert target.items is not None
    ours = [i for i in target.items if is_ours(i) and (not block or block.begin.start < i.start < block.end.start)]
    edits = [(_line_start(text, i.start), (i.end if i.comma is None else i.comma + 1), "") for i in ours]
    kept = [i for i in target.items if i not in ours]
    if ours and kept and kept[-1].start < ours[-1].start and kept[-1].comma is not None:
        edits.append((kept[-1].comma, kept[-1].comma + 1, ""))
    edits += [
        (_line_start(text, c.start), c.end, "")
        for c in document.comments
        if c.text.startswith((BEGIN_START, END_START))
    ]
    return edit(text, edits), False


def _intact(document: Document, block: Block, inside: list[Item], is_ours: Callable[[Item], bool]) -> bool:
    added = [c for c in document.comments if block.begin.end < c.start < block.end.start]
    # A comma after our last entry: something was added behind it.
    return bool(inside) and all(is_ours(item) for item in inside) and inside[-1].comma is None and not added


def _remove_exactly(text: str, container: Node, block: Block) -> str:
    assert container.items is not None
    start = _line_start(text, block.begin.start)
    end = block.end.end
    if "n" in block.flags and not text[end : container.end - 1].strip(_SPACE):
        end = container.end - 1
    edits = [(start, end, "")]
    before = [i for i in container.items if i.start < block.begin.start]
    if "c" in block.flags and before and before[-1].comma is not None:
        edits.append((before[-1].comma, before[-1].comma + 1, ""))
    return edit(text, edits)


def _line_start(text: str, at: int) -> int:
    """Where the line break before `at` begins when only white space is between, else `at`."""
    start = len(text[:at].rstrip(" \t"))
    if text[:start].endswith("\r\n"):
        return start - 2
    return start - 1 if start and text[start - 1] in "\r\n" else at
