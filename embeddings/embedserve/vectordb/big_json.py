"""JSON in pieces: reading or writing a large body never holds Python's global lock for long.

orjson holds the lock for a whole call, a tenth of a second and more for 32 MB, and would stop the event loop from
any thread. So a large text is cut where its structure allows it: the members of an object, groups of the items of an
array, each piece read by orjson, recursively. The cutting looks at brackets and strings only (in text with numbers
they are rare) and whatever is no valid JSON is an error of some piece or of the commas between them.

    loads(text) == orjson.loads(text), errors included, for every text: a law that the tests hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

PIECE = 512 << 10  # 5 ms of numbers
_ITEMS = 64  # 10 ms of vectors of 1,536 numbers
_OUTER = re.compile(rb'[\[\]{}",:]')
_INNER = re.compile(rb'[\[\]{}"]')
_STRING = re.compile(rb'(?:[^"\\]|\\.)*+"', re.DOTALL)
_SCALARS = re.compile(rb"\[[ \t\n\r]*[-0-9tfn]")
_SPACE = b" \t\n\r"
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
JsonError = orjson.JSONDecodeError


def loads(text: bytes, piece: int = PIECE) -> Any:
    """The value. JsonError if it is no JSON; RecursionError never, since only large parts are cut."""
    if len(text) <= piece:
        return orjson.loads(text)
    stripped = text.strip(_SPACE)
    if len(stripped) <= piece or stripped[:1] not in b"[{" or _SCALARS.match(stripped):
        return orjson.loads(stripped)
    pieces = _cut(stripped)
    if pieces is None:
        return orjson.loads(stripped)  # gives the right error
    if stripped[:1] == b"{":
        return {_key(name): loads(value, piece) for name, value in pieces}
    return _array([value for _, value in pieces], piece)


def _key(text: bytes) -> str:
    key = orjson.loads(text)
    if not isinstance(key, str):
        raise JsonError("expected a string as a key", "", 0)
    return key


def _array(items: list[bytes], piece: int) -> list[Any]:
    """The items, read in groups of about `piece` bytes; a large one by itself."""
    values: list[Any] = []
    group: list[bytes] = []
    size = 0
    for item in items:
        if size + len(item) > piece and group:
            values += _group(group)
            group, size = [], 0
        if len(item) > piece:
            values.append(loads(item, piece))
        else:
            group.append(item)
            size += len(item)
    return values + _group(group)


def _group(items: list[bytes]) -> list[Any]:
    if not items:
        return []
    values = orjson.loads(b"[" + b",".join(items) + b"]")
    if len(values) != len(items):
        raise JsonError("misplaced comma", "", 0)
    return list(values)


def _cut(text: bytes) -> list[tuple[bytes, bytes]] | None:
    """(key, value) of the members of an object, or (empty, item) of those of an array; None if it is not well formed.

    `text` begins with its bracket. A member may still be wrong inside.
    """
    is_object = text[:1] == b"{"
    found: list[tuple[bytes, bytes]] = []
    depth, at, start, colon = 1, 1, 1, -1
    while match := (_OUTER if depth == 1 else _INNER).search(text, at):
        mark, at = match[0], match.end()
        if mark == b'"':
            string = _STRING.match(text, at)
            if string is None:
                return None
            at = string.end()
        elif mark in b"[{":
            depth += 1
        elif mark == b":":
            colon = match.start() if colon < 0 else colon
        elif mark == b",":
            if not _add(found, text, start, colon, at - 1, is_object):
                return None
            start, colon = at, -1
        else:
            depth -= 1
            if depth == 0:
                closed = mark == (b"}" if is_object else b"]") and at == len(text)
                empty = not found and not text[start : at - 1].strip(_SPACE)
                return found if closed and (empty or _add(found, text, start, colon, at - 1, is_object)) else None
    return None


def _add(found: list[tuple[bytes, bytes]], text: bytes, start: int, colon: int, end: int, is_object: bool) -> bool:
    """Add the member from `start` to `end`; False if a colon is missing or too much."""
    if is_object != (colon >= 0):
        return False
    found.append((text[start:colon], text[colon + 1 : end]) if is_object else (b"", text[start:end]))
    return True


def dumps(value: Any) -> list[bytes]:
    """The JSON text of `value` in parts; numpy arrays are written as lists."""
    return list(_parts(value))


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict) and any(isinstance(item, dict | list) for item in value.values()):
        yield b"{"
        for i, (name, item) in enumerate(value.items()):
            yield (b"," if i else b"") + orjson.dumps(str(name)) + b":"
            yield from _parts(item)
        yield b"}"
    elif isinstance(value, list) and len(value) > _ITEMS and not isinstance(value[0], int | float | np.number):
        yield b"["
        for start in range(0, len(value), _ITEMS):
            yield (b"," if start else b"") + orjson.dumps(value[start : start + _ITEMS], option=_OPTIONS)[1:-1]
        yield b"]"
    else:
        yield orjson.dumps(value, option=_OPTIONS)
