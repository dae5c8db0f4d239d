"""What a person sees while indexing: a bar with the file, texts/s and time left on a terminal; elsewhere a line with
the same every few seconds.

Everything goes to stderr; results are the command's affair.
"""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_EVERY = 5.0  # seconds, where there is no terminal


class Display:
    """Use as a context manager. `quiet` shows nothing but notes."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live = self._console.is_terminal and not quiet
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[name]}"),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._what = self._name = ""
        self._files = self._size = self._done = self._done_size = self._texts = 0
        self._since = self._printed = 0.0
        self._last_note = ""

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()

    def start(self, what: str, files: int, size: int = 0) -> None:
        """A new phase over so many files. `size`: of them together, in characters: then progress and time left go by
        it, as files differ."""
        for task in list(self._bar.task_ids):
            self._bar.remove_task(task)
        self._task = self._bar.add_task(what, total=size or files, rate="", name="")
        self._what, self._files, self._size = what, files, size
        self._done = self._done_size = self._texts = 0
        self._since = self._printed = time.monotonic()

    def advance(self, files: int, size: int = 0, name: str = "", texts: int = 0) -> None:
        """More is done. `name`: the file at hand; `texts`: embedded."""
        self._done += files
        self._done_size = min(self._done_size + size, self._size)
        self._texts += texts
        self._name = name or self._name
        now = time.monotonic()
        if self._live:
            done = self._done_size if self._size else self._done
            self._bar.update(self._task, completed=done, rate=self._rate(now), name=self._name[-40:])
        elif not self._quiet and now - self._printed >= LINE_EVERY:
            self._printed = now
            print(self._line(now), file=sys.stderr, flush=True)

    def _rate(self, now: float) -> str:
        seconds = max(now - self._since, 1e-3)
        return f"{self._texts / seconds:.0f} texts/s" if self._texts else f"{self._done / seconds:.0f} files/s"

    def _line(self, now: float) -> str:
        share = self._done_size / self._size if self._size else self._done / max(self._files, 1)
        left = f", {(now - self._since) * (1 - share) / share:.0f} s left" if share else ""
        texts = f", {self._texts} texts" if self._texts else ""
        return f"{self._what}: {self._done}/{self._files} files{texts} ({share:.0%}), {self._rate(now)}{left}" + (
            f"; {self._name}" if self._name else ""
        )

    def note(self, message: str) -> None:
        """A line that stays; the same one is not said twice in a row."""
        if message != self._last_note:
            self._last_note = message
            self._console.print(message, markup=False)
