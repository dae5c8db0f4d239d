"""`embedserve pull MODEL`: download a model with a progress bar; interrupted, the next pull continues."""

from __future__ import annotations

import argparse
import sys


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="id, alias or hub id, e.g. jina-code-v2")


def run(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    from embedserve.models.sources import resolve
    from embedserve.settings import load_settings

    home = load_settings().home
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(args.model, total=None, visible=False)
        source = resolve(
            args.model,
            home=home,
            refresh=True,
            progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True),
        )
    print(f"{source.spec.id} is on this machine ({source.origin}, revision {source.revision[:12]}):", file=sys.stderr)
    print(source.folder)
    return 0
