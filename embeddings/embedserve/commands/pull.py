"""`embedserve pull MODEL`: download a model with a progress bar, or lines off a terminal; interrupted, the next pull
continues."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

_EVERY = 5.0  # seconds between two lines


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="id, alias or hub id, e.g. jina-code-v2")


def run(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    from embedserve.models.sources import resolve
    from embedserve.settings import load_settings

    home = load_settings(only=("home",)).home
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(args.model, total=None, visible=False)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        source = resolve(
            args.model,
            home=home,
            refresh=True,
            progress=show if console.is_terminal else _lines(args.model),
        )
    print(f"{source.spec.id} is on this machine ({source.origin}, revision {source.revision[:12]}):", file=sys.stderr)
    print(source.folder)
    return 0


def _lines(model: str) -> Callable[[int, int], None]:
    """Says how far the download is: at its start, every few seconds, and at its end."""
    said = [0.0, -1.0]  # when, and at how many bytes

    def say(done: int, total: int) -> None:
        now = time.monotonic()
        if said[1] != done and (now - said[0] >= _EVERY or done >= total):
            said[:] = now, done
            print(f"{model}: {done / 1e6:.0f} of {total / 1e6:.0f} MB", file=sys.stderr)

    return say
