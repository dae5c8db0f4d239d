"""Real trees, whole: every line of two large packages is in a chunk (`scripts/bench/coverage.py` says of any tree)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "coverage.py"


@pytest.mark.slow
@pytest.mark.parametrize("package", ["matplotlib", "fontTools"])  # both once held files that were cut for ever
def test_every_line_of_a_real_package_is_in_a_chunk(package: str) -> None:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    done = subprocess.run([sys.executable, str(SCRIPT), str(Path(found.origin).parent)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "slowest" in done.stdout
