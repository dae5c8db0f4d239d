"""A chunk as a search sees it, whether it came from the lexical index or from Qdrant. Pure; it knows neither."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """Lines count from 1, both included. `point`: its id in Qdrant. `scope`: the definitions that it is inside of and
    its own, the outermost first. `definition`: first and last line of the innermost one that it is, or is a part of."""

    path: str
    language: str
    text: str
    defines: tuple[str, ...] = ()
    start_line: int = 1
    end_line: int = 1
    kind: str = "text"
    scope: tuple[str, ...] = ()
    definition: tuple[int, int] | None = None
    signature: str = ""
    point: str = ""


def of_payload(point: Any, payload: Mapping[str, Any] | None) -> Entry | None:
    """From a point of the store; None: it is no chunk of ours."""
    try:
        found = payload or {}
        definition = found.get("definition")
        return Entry(
            str(found["path"]),
            str(found.get("language")),
            str(found["text"]),
            tuple(found.get("defines") or ()),
            int(found["start_line"]),
            int(found["end_line"]),
            str(found.get("kind") or "text"),
            tuple(found.get("scope") or ()),
            (int(definition[0]), int(definition[1])) if definition else None,
            str(found.get("signature") or ""),
            str(uuid.UUID(str(point))),
        )
    except (KeyError, TypeError, ValueError, IndexError):
        return None
