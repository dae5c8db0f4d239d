"""The simulation agrees with what is known in closed form, before anything measured is compared with it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("embedserve.scaling.autoscaling")
PATH = Path(__file__).parents[2] / "scripts" / "bench" / "scale_sim.py"


def script() -> Any:
    spec = importlib.util.spec_from_file_location("scale_sim", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scale_sim"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


sim = script()


def test_erlangs_formula_is_that_of_the_textbooks() -> None:
    assert sim.erlang_c(1, 0.5) == pytest.approx(0.5)  # M/M/1: the utilisation
    assert sim.mean_wait(1, 0.5, 1.0) == pytest.approx(1.0)  # rho / (1 - rho) x work
    assert sim.erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert sim.erlang_c(10, 8.0) == pytest.approx(0.4092, abs=1e-4)


@pytest.mark.parametrize(("servers", "use"), [(1, 0.6), (2, 0.7), (3, 0.8)])
def test_the_mean_wait_of_exponential_work_is_erlangs(servers: int, use: float) -> None:
    rate = use * servers
    load = sim.Load(1.0, ((0.0, rate),), spread="exponential")
    waits = [sim.Simulation(load, servers, seed=seed).run(20_000, 500).mean_wait for seed in range(3)]
    assert sum(waits) / 3 == pytest.approx(sim.mean_wait(servers, rate, 1.0), rel=0.08)


def test_fixed_work_waits_half_as_long() -> None:
    """Pollaczek and Khinchine: M/D/1 has half of the wait of M/M/1."""
    waits = [sim.Simulation(sim.Load(1.0, ((0.0, 0.6),)), 1, seed=seed).run(20_000, 500).mean_wait for seed in range(3)]
    assert sum(waits) / 3 == pytest.approx(0.5 * sim.mean_wait(1, 0.6, 1.0), rel=0.08)


@pytest.mark.parametrize(
    ("replicas", "cores", "clients", "throughput"),
    [(1, None, 4, 2.0), (3, None, 12, 6.0), (3, None, 2, 4.0), (3, 2, 12, 4.0)],
)
def test_clients_that_wait_for_their_answer_get_what_replicas_cores_and_they_allow(
    replicas: int, cores: float | None, clients: int, throughput: float
) -> None:
    result = sim.Simulation(sim.Load(0.5, clients=clients), replicas, cores).run(500, 20)
    assert result.throughput == pytest.approx(throughput, rel=0.02)
    assert sum(result.times) / len(result.times) == pytest.approx(clients / throughput, rel=0.05)  # Little's law


def test_replicas_follow_the_load_up_after_the_delay_and_the_start_and_down_again() -> None:
    scaling = sim.Scaling(most=20, upscale_delay=10, startup=15, downscale_delay=60)
    load = sim.Load(0.5, ((0.0, 1.0), (100.0, 16.0), (600.0, 1.0)), spread="exponential")
    result = sim.Simulation(load, 1, None, scaling).run(1200)
    assert result.replicas[99] == 1
    assert result.replicas[110] == 1  # not before delay and start
    assert result.replicas[400] >= 8  # the offered work is eight cores
    assert max(result.replicas) <= 20
    assert result.replicas[-1] <= 2


def test_the_check_tells_a_file_that_agrees_from_one_that_does_not(tmp_path: Path, capsys: Any) -> None:
    def point(replicas: int, requests: float) -> dict[str, Any]:
        clients = 4 * replicas
        return {
            "replicas": replicas,
            "clients": clients,
            "requests_s": requests,
            "p50_ms": 1000 * clients / requests,
            "p95_ms": 1000 * clients / requests,
        }

    path = tmp_path / "measured.json"
    others = [
        {"replicas": 1, "clients": 1, "requests_s": 4.0, "p50_ms": 250, "p95_ms": 250},
        {"replicas": 1, "rate": 1.6, "seconds": 60.0, "requests_s": 1.6, "p50_ms": 300, "p95_ms": 500},
    ]
    path.write_text(json.dumps({"cores": 2, "points": [point(1, 5.0), *others, point(2, 9.0), point(3, 9.5)]}))
    assert sim.check(path, together=4) == 0
    assert "| 3 | 12 clients | 9.50 | 9.0" in capsys.readouterr().out
    path.write_text(json.dumps({"cores": 2, "points": [point(1, 5.0), *others, point(2, 9.0), point(3, 7.0)]}))
    assert sim.check(path, together=4) == 1


def test_requests_in_company_share_a_batch_and_what_works_beside_has_a_share() -> None:
    load = sim.Load(0.5, ((0.0, 0.01),), alone=0.8, together=4)
    assert sim.Simulation(load, 1).run(20_000).percentile(0.5) == pytest.approx(0.8)
    assert [load.of(batch) for batch in (1, 2, 4)] == pytest.approx([0.8, 1.2, 2.0])
    crowd = sim.Load(0.5, clients=16, alone=0.8, together=4)
    crowded = sim.Simulation(crowd, 2, cores=2, beside=0.25).run(500, 20)
    assert crowded.throughput == pytest.approx(2 / (0.5 * 1.25), rel=0.01)


def test_the_same_arrivals_are_sent_and_simulated() -> None:
    times = sim.poisson(2.0, 100.0)
    assert times == sim.poisson(2.0, 100.0)
    assert len(times) == pytest.approx(200, rel=0.2)
    result = sim.Simulation(sim.Load(0.01, times=tuple(times)), 1).run(200)
    assert len(result.times) == len(times)
