"""The package is clean under `mypy --strict`, whose settings stand in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_package_is_clean_under_strict_mypy():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
