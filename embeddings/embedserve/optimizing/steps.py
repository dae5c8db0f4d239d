"""How far each step is: bars on a terminal, lines every few seconds elsewhere (a log, a pipe, CI)."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_EVERY = 5.0  # seconds between two lines of a step


class Steps(Protocol):
    """The part of rich.progress.Progress that is used."""

    @property
    def console(self) -> Console: ...

    def add_task(self, description: str, *, total: float | None) -> TaskID: ...

    def advance(self, task_id: TaskID, advance: float = 1) -> None: ...


def shown_on(console: Console) -> AbstractContextManager[Steps]:
    """Bars or lines, as the console can."""
    return _bars(console) if console.is_terminal else Lines(console)


def _bars(console: Console) -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=console)


@dataclass
class _Step:
    name: str
    total: float
    started: float
    done: float = 0.0
    said: float = 0.0


class Lines:
    """`calibrate: 120 of 800 after 14 s, about 79 s left`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._steps: list[_Step] = []

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def add_task(self, description: str, *, total: float | None) -> TaskID:
        now = time.monotonic()
        self._steps.append(_Step(description, total or 0, now, said=now))
        self.console.print(f"{description} ...", highlight=False)
        return TaskID(len(self._steps) - 1)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        step, now = self._steps[task_id], time.monotonic()
        step.done += advance
        last = step.done >= step.total
        if now - step.said < _EVERY and not last:
            return
        step.said = now
        spent = now - step.started
        line = f"{step.name}: {step.done:.0f} of {step.total:.0f} after {spent:.0f} s"
        if not last:
            line += f", about {spent * (step.total - step.done) / step.done:.0f} s left"
        self.console.print(line, highlight=False, soft_wrap=True)
