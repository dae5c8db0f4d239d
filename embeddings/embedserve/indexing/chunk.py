"""What is embedded and stored: one file cut into chunks.

The law of the index: every line of an indexed file that is not blank is in exactly one chunk (a line longer than a
chunk in several, each with its part of it). Cutting is by construction a partition; `chunk_text` checks it all the
same for every file, and a file where it does not hold, or that takes too long to parse, is cut along its paragraphs
and said so (`Cut.fallback`).

A chunk's point (see `store.py`) has an id made of its path and its text, not of its lines: a function that moved
down keeps its vector. The text that is embedded is the chunk's own, and before it what its reader would miss: the name
of a method's class, the signature of the definition that it is a later part of.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from embedserve.indexing.cut import Part, cut
from embedserve.indexing.languages import Language, parser_for
from embedserve.indexing.markdown import read_sections
from embedserve.indexing.syntax import Definition, Outline, TooSlow, read_outline
from embedserve.indexing.text import Lines, segments

NAMESPACE = uuid.UUID("5b0c1f5e-2d1a-5f0e-9a55-8f4a6a1c7d21")  # ours
CHUNKER = 2  # changes with every change of how files are cut: then all files are cut again
TEXT_FORM = 1  # changes with what of a chunk is embedded
SECONDS_A_FILE = 5.0
READ_AT_ONCE = 65536


@dataclass(frozen=True)
class Chunk:
    """`path` is inside the workspace; lines count from 1 and are both included.

    kind: function, method, class, interface, struct, enum, trait, impl, module, type, variable, section, licence,
    block (statements between definitions) or text. defines: names that it gives. scope: names of the definitions
    around it and of its own, the outermost first. definition: first and last line of the innermost definition that
    it is, or is a part of. signature: that definition's head, for a part after the first. number: counts chunks of
    equal text in one file."""

    path: str
    language: str
    start_line: int
    end_line: int
    text: str
    kind: str = "text"
    defines: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    definition: tuple[int, int] | None = None
    signature: str = ""
    generated: bool = False
    number: int = 0

    @property
    def embedded_text(self) -> str:
        return "\n".join(filter(None, (self._heading, self.text.strip())))

    @property
    def _heading(self) -> str:
        """What a reader of this text alone would miss: the head of what it is a part of, a method's class."""
        if self.signature:
            return self.signature.strip()
        return self.scope[-2] if self.kind == "method" and len(self.scope) > 1 else ""

    @cached_property
    def digest(self) -> str:
        """Tells changed text from unchanged: 32 hex digits."""
        return digest(self.embedded_text)

    @property
    def id(self) -> str:
        return str(uuid.uuid5(NAMESPACE, f"{self.path}\0{self.digest}\0{self.number}"))

    def payload(self) -> dict[str, Any]:
        """As it is stored; empty fields are left out."""
        return {
            "type": "chunk",
            "path": self.path,
            "paths": folders_of(self.path),
            "language": self.language,
            "start_line": self.start_line,
            "end_line": self.end_line,
            "text": self.text,
            "kind": self.kind,
            "defines": list(self.defines),
            "scope": list(self.scope),
            "digest": self.digest,
            **({"definition": list(self.definition)} if self.definition else {}),
            **({"signature": self.signature} if self.signature else {}),
            **({"generated": True} if self.generated else {}),
        }


@dataclass
class Cut:
    """`fallback`: why the file was cut along its paragraphs though its language has a grammar; "" for not."""

    chunks: list[Chunk] = field(default_factory=list)
    fallback: str = ""


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def folders_of(path: str) -> list[str]:
    """["src", "src/a.py"]: every folder above a path, and itself."""
    parts = path.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def chunk_text(path: str, text: str, language: Language, window: int = 0, generated: bool = False) -> Cut:
    """Cut one file. `window`: tokens that the model reads of a text, 0 for unknown."""
    lines = Lines(text, window)
    done = Cut()
    deadline = _deadline()
    root, outline = Definition("file", (), 0, 0, 0, len(lines) - 1), None
    try:
        root, outline = _outline(lines, language, deadline)
        parts = cut(lines, outline, root, deadline)
    except TooSlow:
        done.fallback = f"not parsed and cut within {SECONDS_A_FILE:.0f} s"
    except (RecursionError, ValueError, IndexError, AttributeError, KeyError, AssertionError) as error:
        done.fallback = f"{type(error).__name__} while it was parsed"
    else:
        done.fallback = lost(lines, parts)
    if done.fallback:
        root = Definition("file", (), 0, 0, 0, len(lines) - 1)
        parts = cut(lines, None, root)
    done.chunks = list(_numbered(_chunks(lines, parts, root, path, language, generated)))
    return done


def definitions_of(text: str, language: Language) -> Definition:
    """The file as a definition whose `inner` are what it defines, nested (rows count from 0)."""
    try:
        return _outline(Lines(text), language, _deadline())[0]
    except TooSlow:
        return Definition("file", (), 0, 0, 0, 0)


def _deadline() -> float:
    return time.monotonic() + SECONDS_A_FILE


def _outline(lines: Lines, language: Language, deadline: float) -> tuple[Definition, Outline | None]:
    if language.name == "markdown":
        return read_sections(lines), None
    parser = parser_for(language)
    if parser is None:
        return Definition("file", (), 0, 0, 0, len(lines) - 1), None
    source = lines.joined.encode("utf-8", "replace")
    try:
        # The callback is asked only where the source is read through a function.
        tree = parser.parse(
            lambda offset, _point: source[offset : offset + READ_AT_ONCE],
            progress_callback=lambda *_: time.monotonic() > deadline,
        )
    except ValueError:  # cancelled
        raise TooSlow from None
    finally:
        parser.reset()
    outline = read_outline(lines, tree, language.name, deadline)
    return outline.root, outline


def lost(lines: Lines, parts: Sequence[Part]) -> str:
    """What is wrong with a cutting: lines in no part, or in two. "" when the law holds."""
    taken = Counter(row for part in parts for row in range(part.first, part.last + 1))
    missing = sum(1 for row in range(len(lines)) if not lines.blank[row] and row not in taken)
    twice = sum(1 for count in taken.values() if count > 1)
    return f"{missing} lines were left out, {twice} taken twice" if missing or twice else ""


def _chunks(
    lines: Lines, parts: Sequence[Part], root: Definition, path: str, language: Language, generated: bool
) -> Iterator[Chunk]:
    names = [(definition.start, definition) for definition in root.everything() if definition.kind != "section"]
    known = names.__iter__()
    upcoming = next(known, None)
    for part in parts:
        inside: list[Definition] = []
        while upcoming is not None and upcoming[0] <= part.last:
            if upcoming[0] >= part.first:
                inside.append(upcoming[1])
            upcoming = next(known, None)
        chunk = _described(lines, part, inside, path, language, generated)
        if part.first == part.last and lines.fill(part.span) > 1.1:
            for piece in segments(lines, part.first):
                yield replace(chunk, text=piece.text)
        else:
            yield chunk


def _described(
    lines: Lines, part: Part, inside: list[Definition], path: str, language: Language, generated: bool
) -> Chunk:
    owner = part.owner
    defines = tuple(dict.fromkeys(name for d in inside if d.kind != "impl" for name in d.names))
    kind, scope = part.kind or owner.kind, owner.path
    if owner.kind == "file" and not part.kind:
        kind = "text" if language.grammar is None else "block"
        if len(inside) == 1:
            kind, scope = inside[0].kind, inside[0].path
    has_own_lines = owner.kind != "file" and not part.kind
    later = has_own_lines and not part.whole and part.first > owner.start
    return Chunk(
        path,
        language.name,
        part.first + 1,
        part.last + 1,
        lines.text(part.span),
        kind,
        defines,
        scope,
        (owner.first + 1, owner.last + 1) if has_own_lines else None,
        owner.signature(lines) if later else "",
        generated,
    )


def _numbered(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Chunks of equal text in one file get ids of their own."""
    seen: Counter[str] = Counter()
    for chunk in chunks:
        count = seen[chunk.digest]
        seen[chunk.digest] += 1
        yield replace(chunk, number=count) if count else chunk
