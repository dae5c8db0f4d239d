"""One text alone: its milliseconds on one stream and on all cores, and what the second copy of the weights takes.

    python scripts/bench/one_text.py [--model M] [--precision P] [--turns 25]

Prints the process's anonymous memory (RssAnon) after loading and with the copy, less that of the library alone (Linux).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from embedserve.backends import openvino_wide
from embedserve.backends.base import Vectors
from embedserve.backends.openvino_backend import OpenVinoBackend
from embedserve.backends.select import load_backend
from embedserve.models import sources
from embedserve.settings import load_settings

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tests"))

from support.memory import status_mib

LENGTHS = (9, 14, 22, 35, 50, 70)


def milliseconds(work: Callable[[], Vectors]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--turns", type=int, default=25)
    args = parser.parse_args()
    import openvino  # after our package, which keeps it from reporting to its makers

    openvino_wide._DELAY = 0.0  # this is no server that starts
    home = load_settings().home
    source = sources.resolve(args.model, home=home)
    openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
    library = status_mib("RssAnon")
    backend = load_backend(source, backend="openvino", precision=args.precision, wide_bytes=sys.maxsize, home=home)
    assert isinstance(backend, OpenVinoBackend)
    loaded = status_mib("RssAnon")
    texts = {length: [np.arange(2, 2 + length, dtype=np.int32)] for length in LENGTHS}
    backend.embed_alone(texts[22])
    if backend._wide is None or backend._wide._thread is None:
        raise SystemExit("one stream has all cores here: there is no copy to measure")
    backend._wide._thread.join()
    backend.embed_alone(texts[22])
    copy = status_mib("RssAnon") - loaded
    info = backend.info
    print(f"{args.model} {info.precision}, {info.threads} threads: {loaded - library} MiB; the copy {copy} MiB")
    for length, text in texts.items():
        calls = {"one stream": lambda: backend.embed(text), "all cores": lambda: backend.embed_alone(text)}  # noqa: B023
        found: dict[str, list[float]] = {name: [] for name in calls}
        for name, call in [*calls.items()] * (args.turns + 3):
            found[name].append(milliseconds(call))
        print(f"{length:4} tokens: " + ", ".join(f"{name} {median(row[3:]):.1f} ms" for name, row in found.items()))


if __name__ == "__main__":
    main()
