"""The command line: finds the subcommand, parses, calls one function. Nothing heavy is imported here.

Each subcommand is a module of `embedserve.commands` with `configure(parser)` and `run(args) -> exit code`;
only the one that was asked for is imported, so that `--help` answers at once. A server says `DRAINS = True`: it ends
at Ctrl-C when its requests are answered, other commands within two seconds.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys

from embedserve import __version__, sources
from embedserve.interrupt import INTERRUPTED, bound_ctrl_c, hear_every_ctrl_c, leave

COMMANDS = {
    "serve": "serve embeddings over the OpenAI API",
    "models": "what is known and what is on disk",
    "pull": "download a model, so that it works offline afterwards",
    "optimize": "make a faster int8 model, judge it, install it",
    "warmup": "send one real request to a running server and show the answer",
    "bench": "drive a server as an indexing client does, and measure it",
    "doctor": "check models, memory, ports and Qdrant, and say what to mend",
    "qdrant": "run the embedded Qdrant (the REST API on Qdrant Edge)",
    "index": "index a folder of code into Qdrant",
    "collections": "one collection of many repositories: size it, make it, list it, copy an index into it",
    "search": "search indexed code by meaning",
    "mcp": "serve code search to agents over the Model Context Protocol (stdio)",
    "agent": "put code search into Claude Code, Codex, Cursor, VS Code, opencode, Zoo Code, Kilo Code, or take it out",
}


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand; returns the exit code (2: wrong usage or set-up, 130: Ctrl-C)."""
    if argv is not None:
        return _guarded(argv)
    hear_every_ctrl_c()
    code = _guarded(sys.argv[1:])
    if code == INTERRUPTED:
        leave(code)
    return code


def _guarded(argv: list[str]) -> int:
    from embedserve.errors import SetupError

    try:
        if not {"-h", "--help", "--version"} & set(argv):  # help is had whatever the files say
            sources.fill(os.environ)
        return _run(argv)
    except SetupError as error:
        print(f"embedserve: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="embedserve",
        description="Embeddings for code, served on the machine you have.",
        epilog="Settings: flags, the environment, .env of the checkout, ~/.config/embedserve/config.env.",
    )
    parser.add_argument("--version", action="version", version=f"embedserve {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        sub = subparsers.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == chosen:
            module = importlib.import_module(f"embedserve.commands.{name}")
            module.configure(sub)
    args = parser.parse_args(argv)
    from embedserve.errors import SetupError

    if not getattr(module, "DRAINS", False):
        bound_ctrl_c()
    try:
        code = int(module.run(args) or 0)
        sys.stdout.flush()  # here, not at the interpreter's end: the reader may be gone
        return code
    except SetupError as error:
        print(f"embedserve {chosen}: {error.message}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        _discard_output()  # a reader like `head` has had enough
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"embedserve {chosen}: {error}; make room and run it again", file=sys.stderr)
        _discard_output()
        return 1


def _discard_output() -> None:
    """What is flushed later goes nowhere: it would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
