"""Is every line of a tree in the index? Cuts all files of PATH as `embedserve index` does and compares.

    python scripts/bench/coverage.py PATH [--window 256]

Printed: files, chunks, the share of non-blank lines and of their characters that are in a chunk (100 %, or the exit
code is 1), lines in two chunks (none), chunks beyond the bounds, files cut without their syntax, and the slowest file.
It needs no service and no Qdrant.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from embedserve.indexing.chunk import Cut, chunk_text
from embedserve.indexing.decode import NotText
from embedserve.indexing.load import load, read_bytes
from embedserve.indexing.text import Lines
from embedserve.indexing.walk import walk
from embedserve.indexing.workspace import existing_workspace


@dataclass
class Totals:
    files: int = 0
    chunks: int = 0
    lines: int = 0
    lost_lines: int = 0
    characters: int = 0
    lost_characters: int = 0
    twice: int = 0
    large: int = 0
    seconds: float = 0.0
    slowest: tuple[float, str] = (0.0, "")
    fallbacks: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def judge(text: str, cut: Cut, window: int, totals: Totals) -> int:
    """Compare a file with its chunks by their texts, not by the line numbers that they claim. Returns lost lines."""
    lines = Lines(text, window)
    parts: dict[int, list[str]] = {}
    for chunk in cut.chunks:
        own = chunk.text.split("\n")
        totals.large += lines.fill((chunk.start_line - 1, chunk.end_line - 1)) > 1.1 and len(own) > 1
        for offset, line in enumerate(own):
            parts.setdefault(chunk.start_line - 1 + offset, []).append(line)
    lost = 0
    for row, line in enumerate(lines.lines):
        if lines.blank[row]:
            continue
        found = "".join(parts.get(row, []))
        totals.lines += 1
        totals.characters += len(line)
        if "".join(found.split()) != "".join(line.split()):
            twice = len(found) > len(line)
            totals.twice += twice
            lost += not twice
            totals.lost_characters += max(len(line) - len(found), 0)
    totals.lost_lines += lost
    totals.chunks += len(cut.chunks)
    return lost


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("path")
    parser.add_argument("--window", type=int, default=256, help="tokens that the model reads of a text (256)")
    args = parser.parse_args()
    workspace = existing_workspace(args.path)
    found, totals = walk(workspace), Totals()
    for file in found.files:
        try:
            loaded = load(read_bytes(workspace, file.relative), file.relative, file.language, "")
        except NotText as error:
            totals.skipped[error.reason] += 1
            continue
        began = time.perf_counter()
        cut = chunk_text(file.relative, loaded.text, loaded.language, args.window, loaded.generated)
        seconds = time.perf_counter() - began
        totals.seconds += seconds
        totals.slowest = max(totals.slowest, (seconds, file.relative))
        totals.files += 1
        if cut.fallback:
            totals.fallbacks.append(f"{file.relative}: {cut.fallback}")
        if lost := judge(loaded.text, cut, args.window, totals):
            print(f"LOST {lost} lines of {file.relative}")
    show(Path(workspace), totals, found.skipped + totals.skipped)
    return 1 if totals.lost_lines or totals.twice else 0


def show(path: Path, totals: Totals, skipped: Counter[str]) -> None:
    share = 1 - totals.lost_lines / max(totals.lines, 1)
    characters = 1 - totals.lost_characters / max(totals.characters, 1)
    print(f"{path}: {totals.files} files, {totals.chunks} chunks, {totals.seconds:.1f} s of cutting")
    print(f"  {totals.lines} lines that are not blank: {share:.4%} in a chunk, {totals.twice} in two")
    print(f"  {totals.characters} characters of theirs: {characters:.4%}")
    print(f"  chunks beyond the bounds: {totals.large}")
    print(f"  slowest file: {totals.slowest[1]}, {totals.slowest[0]:.2f} s")
    print(f"  cut without their syntax: {len(totals.fallbacks)}", *totals.fallbacks[:10], sep="\n    ")
    print(f"  not indexed: {dict(skipped)}")


if __name__ == "__main__":
    sys.exit(main())
