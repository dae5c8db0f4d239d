"""One configured model: what is known of it, and where it stands between the disk and memory.

Knows no policy: who is loaded when, and who goes, is for residents.py.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Literal

from embedserve.backends.base import BackendInfo
from embedserve.engine.engine import Engine
from embedserve.models.spec import ModelSpec

State = Literal["loaded", "loading", "on disk", "failed"]


@dataclass
class ServedModel:
    """A model that is loaded and warm. `notice`: what its user should know (a fallback, a skipped guard)."""

    spec: ModelSpec
    engine: Engine
    revision: str
    origin: str
    notice: str = ""


@dataclass
class ModelEntry:
    """A name of EMBEDDING_MODEL and its model, loaded or not. Used on the event loop only.

    spec: None until its files were found. info: of its last load, None before. bytes_needed: an estimate, then what
    the last load took. users: requests that use it now; waiting: requests that wait for it.
    """

    name: str
    spec: ModelSpec | None = None
    info: BackendInfo | None = None
    revision: str = ""
    origin: str = ""
    notice: str = ""
    bytes_needed: int = 0
    served: ServedModel | None = None
    load: asyncio.Task[None] | None = None
    failure: str = ""  # why the last load failed
    failed_at: float = 0.0
    loaded_at: float = 0.0
    leaving: bool = False  # to be unloaded as soon as nobody uses it: no new users
    users: int = 0
    waiting: int = 0
    last_used: float = field(default_factory=time.monotonic)

    @property
    def state(self) -> State:
        if self.served is not None and not self.leaving:
            return "loaded"
        if self.load is not None and not self.load.done():
            return "loading"
        return "failed" if self.failure else "on disk"

    @property
    def id(self) -> str:
        """The model's id; as long as nothing is known of it, the name it was configured by."""
        return self.spec.id if self.spec else self.name

    @property
    def model(self) -> ModelSpec:
        """`spec`, of an entry whose files were found."""
        assert self.spec is not None
        return self.spec

    @property
    def dimension(self) -> int:
        """Of a full vector."""
        return self.info.dimension if self.info else self.model.dimension

    def arrived(self, served: ServedModel) -> None:
        """It is in memory."""
        self.served, self.spec, self.info = served, served.spec, served.engine.backend.info
        self.revision, self.origin, self.notice = served.revision, served.origin, served.notice
        self.failure = ""
        self.loaded_at = self.last_used = time.monotonic()

    def idle_for(self, now: float) -> float:
        """Seconds without a user or somebody who waits; 0 while there is one."""
        return 0.0 if self.users or self.waiting else max(now - self.last_used, 0.0)
