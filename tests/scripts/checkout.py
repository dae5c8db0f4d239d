"""A checkout of this repository for tests of manage.sh: its own folder (with a space in its name), its own ports, its
own home, a .venv whose `embedserve` is the real one of this environment, and no Docker unless asked for."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from support.processes import clean_environment, free_port

ROOT = Path(__file__).resolve().parents[2]
ENTRY = f"#!{sys.executable}\nimport sys\nfrom embedserve.cli import main\nsys.exit(main())\n"


COPIED = (
    *("scripts", "vscode", "qdrant", "embeddings"),
    *("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "NOTICE"),
)


class Checkout:
    """`run("start", "jina")` runs its manage.sh; `close()` leaves no process behind."""

    def __init__(self, folder: Path, docker: bool = False) -> None:
        self.root, self.home, self.tools = folder / "my repo", folder / "home", folder / "tools"
        for made in (self.root, self.home, self.tools):
            made.mkdir(parents=True)
        # cp: a copy by Python takes a fifth of a second. With times, so that the byte code is that of its sources.
        subprocess.run(["cp", "-Rp", *(ROOT / name for name in COPIED), self.root], check=True)
        for leftover in (self.root / "embeddings").glob("*.egg-info"):
            shutil.rmtree(leftover)
        self.manage = self.root / "scripts/manage.sh"
        self.port, self.qdrant_port = free_port(), free_port()
        self.env = clean_environment(
            HOME=str(self.home),
            EMBEDDING_BACKEND="fake",
            EMBEDDING_PORT=str(self.port),
            QDRANT_PORT=str(self.qdrant_port),
            EMBEDSERVE_START_TIMEOUT="60",
        )
        self.env["PATH"] = f"{self.tools}{os.pathsep}{self.env['PATH']}"
        if not docker:
            self.tool("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")

    def tool(self, name: str, body: str) -> None:
        """A command that is found before the system's."""
        path = self.tools / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def make_venv(self, entry: str = ENTRY) -> None:
        """A .venv that counts as installed."""
        binaries = self.root / ".venv/bin"
        binaries.mkdir(parents=True)
        # Not a link: python would look for its own venv beside the link. uv would install into the tests' own.
        no_uv = 'case "$1" in */uv_install.py) exit 3 ;; esac'
        (binaries / "python").write_text(f'#!/bin/sh\n{no_uv}; exec "{sys.executable}" "$@"\n')
        (binaries / "python").chmod(0o755)
        (binaries / "embedserve").write_text(entry)
        (binaries / "embedserve").chmod(0o755)
        for kind in ("user", "torch", "dev"):
            stamp = self.shell(f". scripts/lib/common.sh; . scripts/lib/install.sh; stamp_of {kind}")
            (self.root / f".venv/.stamp-{kind}").write_text(stamp)

    def shell(self, body: str) -> str:
        """Runs a piece of manage.sh's own libraries."""
        return subprocess.run(
            ["bash", "-c", f"ROOT=$PWD; {body}"],
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def run(self, *words: str, timeout: float = 120, **changes: str) -> subprocess.CompletedProcess[str]:
        return self.run_as([str(self.manage), *words], timeout=timeout, **changes)

    def run_as(self, command: list[str], timeout: float = 120, cwd: str = "/", **changes: str):
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, cwd=cwd, env={**self.env, **changes},
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def pid(self, service: str) -> int:
        return int((self.root / f".run/{service}.pid").read_text())

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        for service in ("jina", "qdrant"):
            with contextlib.suppress(OSError, ValueError):
                os.killpg(self.pid(service), signal.SIGKILL)
