"""Real code to calibrate and to judge on: the Python standard library, or a folder of the user's.

Judging: a function's docstring (its first paragraph) is the query, the function without it the document that
should be found. Modules are dealt to calibration or judging by a hash of their name, so that a model is never
judged on what it was calibrated with. Order and choice are the same on every run.

Texts are read with `ast`, nothing is imported or run.
"""

from __future__ import annotations

import ast
import functools
import os
import random
import sysconfig
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "__pycache__", "idlelib", "lib2to3"})
CHUNK = (60, 1150)  # characters; clients' chunks are as long
LARGEST_FILE = 1024 * 1024


@dataclass(frozen=True)
class Pair:
    query: str
    document: str


def standard_library() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def calibration_texts(folder: Path | None, count: int) -> list[str]:
    """What a server sees. From `folder`: chunks of the lengths that clients send. From the standard library's
    half for calibration: a quarter such chunks, the rest docstrings and functions, in equal numbers (chunks
    alone gave a lower worst cosine). Fewer than `count` if there is not that much."""
    if folder is not None:
        return _chunks(list(_files(folder, "")), count)
    files = [f for f in _files(standard_library(), ".py") if not _for_judging(f)]
    judged = {pair.document for pair in _all_for_judging()}  # a function may stand in a module of each half
    pairs = [pair for file in files for pair in _pairs(_read(file)) if pair.document not in judged]
    random.Random(0).shuffle(pairs)
    pairs = pairs[: count * 3 // 8]
    texts = [text for pair in pairs for text in (pair.query, pair.document)]
    return _chunks(files, count - len(texts)) + texts


def _chunks(files: list[Path], count: int) -> list[str]:
    pick = random.Random(0)
    pick.shuffle(files)
    chunks: list[str] = []
    for file in files:
        text = _read(file)
        start = 0
        found = []
        while start < len(text):
            # Half of a client's texts have up to 130 characters, one in twenty over 890.
            length = min(max(int(pick.lognormvariate(4.9, 0.95)), CHUNK[0]), CHUNK[1])
            found.append(text[start : start + length])
            start += length
        chunks += pick.sample([c for c in found if c.strip()], min(8, sum(bool(c.strip()) for c in found)))
        if len(chunks) >= count:
            break
    return chunks[:count]


def judging_pairs(count: int) -> list[Pair]:
    """Docstring → function, from the standard library's half for judging. No query or document twice."""
    chosen = list(_all_for_judging())
    random.Random(0).shuffle(chosen)
    return chosen[:count]


@functools.cache  # reading them takes seconds, and calibrating asks as well as judging
def _all_for_judging() -> tuple[Pair, ...]:
    pairs: dict[str, Pair] = {}
    documents: set[str] = set()
    for file in _files(standard_library(), ".py"):
        if not _for_judging(file):
            continue
        for pair in _pairs(_read(file)):
            if pair.query not in pairs and pair.document not in documents:
                pairs[pair.query] = pair
                documents.add(pair.document)
    return tuple(pairs.values())


def _pairs(source: str) -> Iterator[Pair]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    lines = source.splitlines(keepends=True)
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or len(node.body) < 2:
            continue
        docstring = ast.get_docstring(node)
        if not docstring:
            continue
        query = " ".join(docstring.split("\n\n")[0].split())
        first = node.body[0]
        document = "".join(lines[node.lineno - 1 : first.lineno - 1] + lines[first.end_lineno : node.end_lineno])
        if len(query) >= 20 and len(document) >= CHUNK[0]:
            yield Pair(query, document[: CHUNK[1]])


def _for_judging(file: Path) -> bool:
    return zlib.crc32(file.name.encode()) % 2 == 0


def _files(folder: Path, suffix: str) -> Iterator[Path]:
    """Text files under `folder`, in a fixed order."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in SKIPPED and not f.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if name.endswith(suffix) and path.is_file() and path.stat().st_size <= LARGEST_FILE:
                yield path


def _read(file: Path) -> str:
    """The text, "" if it is not UTF-8 or not text."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if "\0" in text else text
