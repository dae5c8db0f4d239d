"""Point ids: an unsigned 64-bit integer or a UUID."""

from __future__ import annotations

import re
import uuid
from typing import Any

from embedserve.vectordb.body import describe, expect
from embedserve.vectordb.errors import format_error

PointId = int | str
_DIGITS = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID = re.compile(rf"(?:urn:uuid:)?{_DIGITS}|\{{{_DIGITS}\}}|[0-9a-f]{{32}}", re.IGNORECASE)


def parse_id(value: Any) -> PointId:
    """An id; a UUID in any of its forms comes back in lower case with hyphens."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64:
        return value
    if isinstance(value, str) and _UUID.fullmatch(value):
        return str(uuid.UUID(value))
    shown = repr(value)[:100] if isinstance(value, str | int | float) else describe(value)
    raise format_error(f"value {shown} is not a valid point ID, valid values are either an unsigned integer or a UUID")


def plain_id(value: int | str | uuid.UUID) -> PointId:
    """An id as Qdrant Edge gives it, in the form of `parse_id`."""
    return value if isinstance(value, int) else str(value)


def parse_ids(value: Any, where: str) -> list[PointId]:
    return [parse_id(item) for item in expect(value, list, where)]
