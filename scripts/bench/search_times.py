"""How long does a person wait for `embedserve search`?  Three clocks of the command's own wall time, one process each.

    embedserve qdrant & embedserve serve --model all-MiniLM-L6-v2 &
    python scripts/bench/search_times.py FOLDER [--large FOLDER] [--rounds 21]

warm: FOLDER is indexed, nothing changed. changed: a function was just written into one of its files; the time of the
search that finds it. first: the first search of --large (by default Python's library without site-packages), which was
never indexed: its words are read, the vectors are made behind it by a process that is ended here.
Both folders are copied first, and their indexes removed at the end. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

QUESTIONS = ("how is a request handled", "parse the settings", "where are errors raised")
COMMAND = [sys.executable, "-m", "embedserve.cli"]


def asked(folder: Path, question: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Seconds of one search, and what it said."""
    began = time.perf_counter()
    done = subprocess.run([*COMMAND, "search", "--json", question], cwd=folder, capture_output=True, text=True)
    took = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    return took, done


def warm(folder: Path, rounds: int) -> list[float]:
    return [asked(folder, QUESTIONS[at % len(QUESTIONS)])[0] for at in range(rounds)]


def changed(folder: Path, rounds: int) -> list[float]:
    file = max(folder.rglob("*.py"), key=lambda path: path.stat().st_size)
    times = []
    for at in range(rounds):
        name = f"written_a_moment_ago_{at}"
        file.write_text(f"{file.read_text()}\n\ndef {name}():\n    return {at}\n")
        took, done = asked(folder, name)
        if name not in done.stdout:
            sys.exit(f"{name} was not found")
        times.append(took)
    return times


def end_background(folder: Path) -> None:
    """The process that makes the vectors of a folder behind a search."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "index" in words and str(folder) in words:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--large", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--rounds", type=int, default=21)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder, large = Path(home, "folder"), Path(home, "large")
        left_out = shutil.ignore_patterns("site-packages", "__pycache__", ".git")
        for source, copy in ((given.folder, folder), (given.large, large)):
            shutil.copytree(source, copy, ignore=left_out)
        try:
            subprocess.run([*COMMAND, "index", str(folder)], check=True, capture_output=True)
            for name, measure in (("warm", warm), ("changed", changed)):
                times = measure(folder, given.rounds)
                print(f"{name}: p50 {median(times):.3f} s, longest {max(times):.3f} s ({len(times)} searches)")
            took, done = asked(large, "parse a json document")
            said = re.search(r"[\d,]+ chunks", done.stderr)
            hits = len(json.loads(done.stdout or "[]"))
            print(f"first: {took:.1f} s, {said[0] if said else 'chunks not said'}, {hits} hits")
        finally:
            end_background(large)
            for copy in (folder, large):
                subprocess.run([*COMMAND, "index", "--delete", str(copy)], capture_output=True)


if __name__ == "__main__":
    main()
