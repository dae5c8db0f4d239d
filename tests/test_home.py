"""No test reads or writes the home or the caches of the person who runs the tests (tests/support/home.py)."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.processes import clean_environment

ROOT = Path(__file__).resolve().parents[1]
WRITER = "tests/test_mcp.py::test_an_agent_lists_the_tools_searches_and_reads_the_status"


PLACES = """
import huggingface_hub.constants
from embedserve.client_settings import home
from embedserve.settings import Settings
print(home(), Settings().home, huggingface_hub.constants.HF_HUB_CACHE, sep="\\n")
"""


def test_every_place_of_ours_under_the_home_is_in_a_temporary_one():
    assert Path.home().is_relative_to(tempfile.gettempdir())
    command = [sys.executable, "-c", PLACES]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=True)
    assert [path for path in done.stdout.splitlines() if not Path(path).is_relative_to(Path.home())] == []


@pytest.mark.slow
def test_a_run_that_indexes_leaves_the_persons_home_as_it_was(tmp_path):
    """That test's index and search have no EMBEDDING_HOME, so that their files go to the home."""
    environment = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", WRITER]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
