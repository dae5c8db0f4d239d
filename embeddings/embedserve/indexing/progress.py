"""What a person sees while indexing: a bar with texts/s and time left on a terminal, a line now and then elsewhere.

Everything goes to stderr; results are the command's affair.
"""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY = 10.0  # seconds, where there is no terminal


class Display:
    """Use as a context manager. `quiet` shows nothing but notes."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live = self._console.is_terminal and not quiet
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._what, self._done, self._total = "", 0, 0
        self._since = self._printed = 0.0
        self._last_note = ""

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()

    def start(self, what: str, total: int) -> None:
        """A new phase, such as "reading" files or "embedding" texts."""
        for task in list(self._bar.task_ids):
            self._bar.remove_task(task)
        self._task = self._bar.add_task(what, total=total, rate="")
        self._what, self._done, self._total = what, 0, total
        self._since = self._printed = time.monotonic()

    def advance(self, count: int, unit: str = "") -> None:
        self._done += count
        now = time.monotonic()
        rate = f"{self._done / max(now - self._since, 1e-3):.0f} {unit}/s" if unit else ""
        self._bar.update(self._task, advance=count, rate=rate)
        if not (self._live or self._quiet) and now - self._printed >= LINE_EVERY:
            self._printed = now
            left = (self._total - self._done) * (now - self._since) / max(self._done, 1)
            print(f"{self._what}: {self._done}/{self._total} {rate}, {left:.0f} s left", file=sys.stderr)

    def note(self, message: str) -> None:
        """A line that stays; the same one is not said twice in a row."""
        if message != self._last_note:
            self._last_note = message
            self._console.print(message, markup=False)
