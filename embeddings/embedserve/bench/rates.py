"""This machine's matrix-product rate for a precision: the ceiling that a server's work is compared to.

Given by the user, or measured by scripts/bench/matmul_rate.py in a process of its own while the servers are
idle. An installed package has no such script: then the share is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence

from embedserve.bench.servers import SCRIPTS
from embedserve.errors import SetupError


def parse_rates(given: Sequence[str]) -> dict[str, float]:
    """Operations/s by precision from "bf16=370" (GFLOP/s)."""
    rates = {}
    for item in given:
        precision, _, value = item.partition("=")
        try:
            rates[precision] = float(value) * 1e9
        except ValueError:
            raise SetupError(f"--rate {item}: write it like bf16=370 (GFLOP/s)") from None
    return rates


def matmul_rates(precisions: Iterable[str], given: Sequence[str] = ()) -> dict[str, float]:
    """Operations/s for each precision that is given or can be measured."""
    rates = parse_rates(given)
    missing = sorted(set(precisions) - set(rates))
    script = SCRIPTS / "matmul_rate.py"
    if not missing or not script.exists():
        return rates
    done = subprocess.run([sys.executable, str(script), "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"{script.name} failed: {done.stderr.strip()[-300:]}")
    measured = json.loads(done.stdout)
    return {**{p: float(v) * 1e9 for p, v in measured.items() if p in missing}, **rates}
