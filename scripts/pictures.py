"""The pictures of README.md: the status page under load, and a terminal recording of index and search.

    .venv/bin/python scripts/pictures.py

Starts the real servers with MiniLM on free ports, indexes this repository, takes what Chromium and the commands show.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from rich.console import Console  # noqa: E402
from rich.terminal_theme import DIMMED_MONOKAI  # noqa: E402
from rich.text import Text  # noqa: E402

from support.browser import Browser  # noqa: E402
from support.processes import EMBEDSERVE, clean_environment, embedded_qdrant, minilm_service  # noqa: E402

PICTURES = ROOT / "memory-bank" / "pictures"
WIDTH = 112
LOAD_SECONDS = 40


def recorded(shown: str, command: list[str], environment: dict[str, str], most: int) -> list[tuple[float, Text]]:
    """(seconds since the line before, line) of a command's output on a terminal, its own line first."""
    lines = [(1.2, Text.assemble(("$ ", "bold green"), (shown, "bold")))]
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    before, rest = time.monotonic(), b""
    while piece := _read(terminal):
        *whole, rest = (rest + piece).split(b"\n")
        now = time.monotonic()
        for line in whole:
            text = Text.from_ansi(line.decode().rstrip("\r").rpartition("\r")[2])  # the last state of a progress bar
            lines.append((now - before, text))
            before = now
    os.close(terminal)
    assert process.wait() == 0, lines
    more = [(0.1, Text("  …", "dim"))] if len(lines) > most else []
    return [*lines[:most], *more, (0.1, Text(""))]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # its other end is closed
        return b""


def recording(lines: list[tuple[float, Text]], path: Path) -> None:
    """An SVG whose lines appear when they were printed; waits are shortened to two seconds."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
    at, moments = 0.0, []
    for wait, line in lines:
        at += min(wait, 2.0)
        for row in line.wrap(console, WIDTH) or [line]:
            console.print(row, no_wrap=True, overflow="ellipsis")
            moments.append(at)
    svg = console.export_svg(title="embedserve", theme=DIMMED_MONOKAI, unique_id="embedserve")
    styles = "".join(
        f'text[clip-path="url(#embedserve-line-{row})"]{{animation:appear 0s {moment:.2f}s both}}'
        for row, moment in enumerate(moments)
    )
    svg = svg.replace(
        "</style>", "@keyframes appear{from{visibility:hidden}to{visibility:visible}}" + styles + "</style>", 1
    )
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # nothing is fetched from elsewhere
    path.write_text(svg)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        environment = clean_environment(EMBEDDING_HOME=home, TERM="xterm-256color", COLORTERM="truecolor")
        with minilm_service(EMBEDDING_HOME=home) as service, embedded_qdrant(Path(home) / "qdrant") as qdrant:
            options = ["--embeddings-url", service.url + "/v1", "--qdrant-url", qdrant.url]
            index = recorded("embedserve index .", [*EMBEDSERVE, "index", ".", *options], environment, 12)
            question = "where is the request body read under a deadline?"
            words = ["search", question, "--limit", "2", *options]
            search = recorded(f'embedserve search "{question}" --limit 2', [*EMBEDSERVE, *words], environment, 36)
            recording([*index, *search], PICTURES / "index-and-search.svg")
            load = threading.Thread(target=lambda: run_load(service.url))
            load.start()
            time.sleep(LOAD_SECONDS)
            take(service.url)
            load.join()


def run_load(url: str) -> None:
    command = [*EMBEDSERVE, "bench", url + "/v1", "--rounds", "1", "--seconds", str(LOAD_SECONDS + 15)]
    subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, check=False)


def take(url: str) -> None:
    with Browser() as browser:
        for name, width, dark in (("light", 1280, False), ("dark", 1280, True), ("phone", 390, False)):
            browser.open(url, width=width, dark=dark)
            browser.until("document.body.innerText.includes('all-MiniLM-L6-v2')")
            time.sleep(3)
            browser.picture(PICTURES / f"status-{name}.png", whole=False)


if __name__ == "__main__":
    main()
