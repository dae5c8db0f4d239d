"""schemathesis over a document, through its own command, as its users run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import clean_environment


def conforms(document: str, *options: str, folder: Path, unjudged: str) -> None:
    """Fails with schemathesis' report unless every answer conforms. document: a URL, or a file in `folder`; options:
    of `schemathesis run`; unjudged: its checks that are left out, joined by commas."""
    pytest.importorskip("schemathesis")
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("run", document, "--seed", "8", "--exclude-checks", unjudged, "--generation-database", "none"),
            *options,
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env=clean_environment(COLUMNS="120"),
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
