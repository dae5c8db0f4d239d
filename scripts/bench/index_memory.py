"""Is the memory of `embedserve index` flat in the size of the tree, and how long does a tree take that is unchanged?

    python scripts/bench/index_memory.py [--chunks 20000 50000]

For each size: a made tree of that many chunks (30 functions a file), an embedded Qdrant of its own, and a stand-in for
the embedding service that answers at once (so the figures are the indexer's own). Printed: peak RSS and seconds of
the first run, of a run where nothing changed, and of one where one file changed, and the store's resident memory after
each (all of it, and without what it maps of files, which the system may take back); at the end the ratio of the peaks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tests"))

from support.embedding_standin import EmbeddingStandIn
from support.processes import clean_environment, embedded_qdrant

# The command says its own peak at its end: getrusage would say this process's where that is larger (Linux hands
# `ru_maxrss` on through fork and exec).
WITH_PEAK = """
import atexit, pathlib, sys
from embedserve.cli import main
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: sys.stderr.write(next(x for x in status.read_text().splitlines(True) if "VmHWM" in x)))
sys.exit(main())
"""
A_FILE = 30
FUNCTION = (
    'def {name}(value, other):\n    """Return what {name} makes of the value."""\n    return value * 3 + other\n\n\n'
)


def make_tree(root: Path, chunks: int) -> None:
    for number in range(chunks // A_FILE):
        path = root / f"d{number % 40}" / f"f{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(FUNCTION.format(name=f"n{number}x{i}") for i in range(A_FILE)))


def indexed(root: Path, options: list[str]) -> tuple[dict[str, object], float, float]:
    """The report, the peak RSS in MB, and seconds of one `embedserve index`."""
    began = time.monotonic()
    command = [sys.executable, "-c", WITH_PEAK, "index", str(root), "--json", *options]
    environment = clean_environment(EMBEDDING_HOME=f"{root}-home")  # the lexical index
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout), int(done.stderr.split()[-2]) / 1024, time.monotonic() - began


def store(pid: int) -> tuple[float, float]:
    """Resident memory of the embedded Qdrant in MB: all of it, and without pages of mapped files."""
    status = Path(f"/proc/{pid}/status").read_text()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("Rss")}
    return sum(sizes.values()), sizes["RssAnon"]


def measure(chunks: int) -> float:
    """Print one size's figures; the peak RSS of its first run in MB."""
    with tempfile.TemporaryDirectory() as folder, EmbeddingStandIn(dimension=384) as service:
        root = Path(folder) / "tree"
        make_tree(root, chunks)
        with embedded_qdrant(Path(folder) / "storage") as qdrant:
            options = ["--embeddings-url", service.url, "--qdrant-url", qdrant.url]
            peak = 0.0
            for what in ("first run", "unchanged", "one file changed"):
                if what == "one file changed":
                    (root / "d0" / "f0.py").write_text(FUNCTION.format(name="changed") * 2)
                report, megabytes, seconds = indexed(root, options)
                peak = peak or megabytes
                resident, own = store(qdrant.process.pid)
                print(
                    f"{report['chunks']:>7} chunks, {what:<17} {megabytes:6.0f} MB peak, {seconds:6.2f} s wall, "
                    f"{report['seconds']:6.2f} s of indexing, {report['embedded']} embedded; "
                    f"store {resident:.0f} MB, {own:.0f} of it its own",
                    flush=True,
                )
    return peak


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--chunks", type=int, nargs="+", default=[20_000, 50_000])
    peaks = [measure(chunks) for chunks in parser.parse_args().chunks]
    print(f"peak RSS, largest against smallest: {max(peaks) / min(peaks):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
