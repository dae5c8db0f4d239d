"""`embedserve optimize MODEL --precision int8`: make a quantised model, judge it, install it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model id, alias, hub id or folder")
    parser.add_argument("--precision", choices=["int8"], default="int8")
    parser.add_argument(
        "--calibrate", type=Path, metavar="DIR", help="calibrate on this folder's code instead of Python's"
    )
    parser.add_argument("--texts", type=int, default=400, help="texts to calibrate on (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=3000, help="docstring → function pairs to judge on (%(default)s)")
    parser.add_argument(
        "--no-guard", action="store_true", help="install without judging (speed tests on random weights); is recorded"
    )


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from embedserve.errors import ArtefactError
    from embedserve.models.sources import resolve
    from embedserve.optimizing.optimize import optimize
    from embedserve.settings import load_settings

    settings = load_settings(only=("home", "threads"))
    if args.texts < 1 or args.pairs < 100:
        raise ArtefactError("--texts must be at least 1, --pairs at least 100: fewer say nothing")
    if args.calibrate is not None and not args.calibrate.is_dir():
        raise ArtefactError(f"--calibrate {args.calibrate}: no such folder")
    source = resolve(args.model, home=settings.home)
    artefact = optimize(
        source,
        settings.home,
        calibrate=args.calibrate,
        texts=args.texts,
        pairs=0 if args.no_guard else args.pairs,
        threads=settings.threads,
        console=Console(file=sys.stderr),
    )
    print(artefact.folder)
    return 0
