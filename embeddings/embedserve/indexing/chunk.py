"""What is embedded and stored: one file cut into chunks, with the clients' ids and payload.

A Python or other known language is cut along its syntax, Markdown along its headers, the rest along lines.
The id of a chunk is made from its place, its length and its first 100 characters (the clients' segment hash),
so a chunk whose text changed further on keeps its id: `digest` is what tells changed text.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from embedserve.indexing.languages import Language, language_of, parser_for
from embedserve.indexing.syntax import cut_syntax
from embedserve.indexing.text import Lines, Piece, cut_lines, cut_markdown
from embedserve.indexing.workspace import path_segments, shown_path

NAMESPACE = uuid.UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")  # the clients' QDRANT_CODE_BLOCK_NAMESPACE


class NotText(Exception):
    """The file is binary."""


@dataclass(frozen=True)
class Chunk:
    """`path` is inside the workspace; lines count from 1 and are both included."""

    path: str
    start_line: int
    end_line: int
    text: str
    segment_hash: str

    @property
    def id(self) -> str:
        return str(uuid.uuid5(NAMESPACE, self.segment_hash))

    @property
    def embedded_text(self) -> str:
        return self.text.strip()  # as the clients send it

    def payload(self) -> dict[str, Any]:
        return {
            "filePath": self.path,
            "codeChunk": self.text,
            "startLine": self.start_line,
            "endLine": self.end_line,
            "segmentHash": self.segment_hash,
            "pathSegments": path_segments(self.path),
        }


def digest(text: str) -> bytes:
    """Tells changed text from unchanged."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def read_text(path: str) -> str:
    """A file's text as the clients see it (UTF-8, wrong bytes replaced). Raises NotText, OSError."""
    with open(path, "rb") as file:
        data = file.read()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    if b"\0" in data[:8192]:  # git's rule
        raise NotText
    return data.decode("utf-8-sig", "replace")


def chunk_file(workspace: str, relative: str) -> list[Chunk]:
    """Read and cut one file. Raises NotText for a binary one, OSError for an unreadable one."""
    language = language_of(relative)
    assert language is not None, "the walk gives only files of a known language"
    absolute = os.path.join(workspace, relative)
    return list(chunk_text(absolute, shown_path(relative), read_text(absolute), language))


def chunk_text(absolute: str, relative: str, text: str, language: Language) -> Iterator[Chunk]:
    """Chunks of `text` in file order. `absolute` goes into the hash, `relative` into the payload."""
    for piece in _cut(text, language):
        start, end = piece.first + 1, piece.last + 1
        hashed = segment_hash(shown_path(absolute), start, end, piece.text, piece.column)
        yield Chunk(relative, start, end, piece.text, hashed)


def _cut(text: str, language: Language) -> Iterator[Piece]:
    lines = Lines(text)
    if language.name == "markdown":
        return cut_markdown(lines)
    parser = parser_for(language)
    if parser is None:
        return cut_lines(lines)
    tree = parser.parse(text.encode("utf-8", "replace"))
    return cut_syntax(lines, tree, language.name)


def segment_hash(absolute: str, start: int, end: int, text: str, column: int | None = None) -> str:
    """The clients' hash of a segment. Lengths count in UTF-16 units, since theirs is JavaScript."""
    units = text.encode("utf-16-le", "surrogatepass")
    preview = units[:200].decode("utf-16-le", "replace")
    place = f"{absolute}-{start}-{end}" + ("" if column is None else f"-{column}")
    return hashlib.sha256(f"{place}-{len(units) // 2}-{preview}".encode()).hexdigest()
