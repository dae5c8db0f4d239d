"""`embedserve doctor`: check models, memory, disk, ports and Qdrant, and say what to mend."""

from __future__ import annotations

import argparse
import json
import os
import sys

from embedserve.commands._search_options import add_connection_options, connection


def configure(parser: argparse.ArgumentParser) -> None:
    add_connection_options(parser)
    parser.add_argument("--json", action="store_true", help="print the lines as one JSON list")


def run(args: argparse.Namespace) -> int:
    """Exit code 1 when a line failed."""
    from embedserve.doctor import Line, examine
    from embedserve.settings import load_settings

    where = connection(args)
    settings = load_settings(model=args.model)
    colours = {"pass": "32", "warn": "33", "fail": "31"} if _coloured() else {}
    lines: list[Line] = []
    for line in examine(settings, where, published=args.model not in (None, "auto")):
        lines.append(line)
        if not args.json:
            status = f"\x1b[{colours[line.status]}m{line.status}\x1b[0m" if colours else line.status
            print(f"{status}  {line.check:<10} {line.message}", flush=True)
            if line.advice:
                print(f"{'':<17}{line.advice}", flush=True)
    if args.json:
        print(json.dumps([line.as_dict() for line in lines], indent=2, ensure_ascii=False))
    return 1 if any(line.status == "fail" for line in lines) else 0


def _coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
