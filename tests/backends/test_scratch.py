"""Temporary folders: removed at the end, kept while their process works, cleared away when it was killed."""

import subprocess
import sys

from embedserve.backends.scratch import PREFIX, scratch

WORK = """
import sys, time
from pathlib import Path
from embedserve.backends.scratch import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "weights").write_text("half")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_a_folder_at_work_is_kept_and_a_killed_processes_is_cleared_away(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", WORK, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    theirs = tmp_path / child.stdout.readline().strip()
    (tmp_path / "an artefact").mkdir()
    try:
        with scratch(tmp_path) as ours:
            assert sorted(tmp_path.glob(PREFIX + "*")) == sorted([ours, theirs])
    finally:
        child.kill()
        child.wait()
    assert list(tmp_path.glob(PREFIX + "*")) == [theirs]
    with scratch(tmp_path) as ours:
        assert list(tmp_path.glob(PREFIX + "*")) == [ours]
    assert [path.name for path in tmp_path.iterdir()] == ["an artefact"]
