"""From the start of the process to the first embedding, several times in a row.

    python scripts/bench/cold_start.py [--model all-MiniLM-L6-v2] [--precision auto] [--times 5] [--bound 2.5]

The first start may convert the model; the later ones find it installed, as a user's do. Each start
asks every 20 ms for the embedding of one short text. The median of all but the first
counts; exit 1 when it is over --bound.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from statistics import median

from embedserve.bench.servers import StartedServer, end_on_sigterm, own_command


def cold_starts(model: str, precision: str, times: int, env: Mapping[str, str] | None = None) -> list[float]:
    """Seconds of each start."""
    seconds = []
    for _ in range(times):
        server = StartedServer(f"embedserve {precision}", own_command(model, precision), env)
        try:
            server.wait()
        finally:
            server.stop()
        seconds.append(server.cold_start)
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--bound", type=float, default=float("inf"), metavar="SECONDS")
    args = parser.parse_args()
    end_on_sigterm()
    seconds = cold_starts(args.model, args.precision, max(2, args.times))
    middle = median(seconds[1:])
    print("starts, s:", " ".join(f"{value:.2f}" for value in seconds), f" median of the later ones: {middle:.2f}")
    return 1 if middle > args.bound else 0


if __name__ == "__main__":
    sys.exit(main())
