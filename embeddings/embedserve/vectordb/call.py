"""What a handler knows of a request besides its body; the same for REST and gRPC."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Call:
    """`params`: the variables of the path. `waits`: the client asks to be answered when the write is done.

    `query`: the other query parameters, of which only an upload uses some.
    """

    params: dict[str, str] = field(default_factory=dict)
    waits: bool = False
    query: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The collection's name or alias."""
        return self.params["name"]

    def updated(self, operation: int) -> dict[str, Any]:
        """Every write is applied before the answer; a client that does not wait is told what Qdrant would tell it."""
        return {"operation_id": operation, "status": "completed" if self.waits else "acknowledged"}
