"""The whole speed table of one model: each row with its target and what was reached here, today.

    python scripts/bench/cpu_table.py [--model all-MiniLM-L6-v2|FOLDER] [--precision bf16 --precision int8]
        [--no-naive] [--no-st] [--st-python .venv-st/bin/python] [--rounds 2] [--seconds 10] [--json FILE]

One interleaved run: naive, sentence-transformers with OpenVINO in each precision, ours in each precision, and each
bare backend, in turns; then what needs a server to itself: 100 clients x 60 texts, cold starts, the cache after a
restart. Cache off everywhere but in the last. Throughput rows are given a second time per second of CPU time:
less exact (a server that leaves a core idle is not charged for it), but steadier when others use
the machine. The targets are those of the model's shape.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from embedserve.bench.client import served_model
from embedserve.bench.load import drive, judge
from embedserve.bench.rates import matmul_rates
from embedserve.bench.report import as_dict, percentile, table
from embedserve.bench.runner import Plan, Subject, requests_of, run
from embedserve.bench.servers import Meter, StartedServer, end_on_sigterm, own_command, script_command
from embedserve.bench.shapes import shape_of
from embedserve.bench.texts import waves

# row -> (bound is a least value, target for jina's shape, for MiniLM); None: state it
TARGETS: dict[str, tuple[bool, float | None, float | None]] = {
    "bf16 x naive": (True, 7.5, 7.5),
    "int8 x naive": (True, 12, 11),
    "bf16 x sentence-transformers OpenVINO": (True, 2, 2.3),
    "int8 x sentence-transformers OpenVINO": (True, 2, None),
    "bf16 share of matrix-product rate, %": (True, 80, None),
    "int8 share of matrix-product rate, %": (True, 70, None),
    "bf16 cost over the bare backend, %": (False, 5, 15),
    "int8 cost over the bare backend, %": (False, 5, 15),
    "bf16 one text idle p50 x bare call": (False, 1.2, 1.5),
    "int8 one text idle p50 x bare call": (False, 1.2, 1.5),
    "bf16 one text during a scan p95, ms": (False, None, 300),
    "int8 one text during a scan p95, ms": (False, 600, 300),
    "bf16 peak RSS at 100 x 60, MB": (False, 1536, 600),
    "int8 peak RSS at 100 x 60, MB": (False, 1126, 600),
    "bf16 start to first embedding, s": (False, 5, 2.5),
    "int8 start to first embedding, s": (False, 5, 2.5),
    "bf16 all cached, after a restart, texts/s": (True, 4000, 4000),
    "int8 all cached, after a restart, texts/s": (True, 4000, 4000),
}
OFF = {"EMBEDDING_CACHE": "off"}


class BareProcess:
    """bare_backend.py --serve, asked over its pipes."""

    def __init__(self, model: str, precision: str) -> None:
        command = script_command("bare_backend.py", "--serve", "--model", model, "--precision", precision)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.rates: list[float] = []
        self.cpu_rates: list[float] = []
        self.single: list[float] = []

    def ask(self, what: str) -> dict[str, float]:
        assert self.process.stdin
        assert self.process.stdout
        print(what, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)


def say(what: str, texts: int) -> None:
    if what:
        print(what, file=sys.stderr)


def start(name: str, command: list[str], stack: ExitStack, model: str) -> Subject:
    say(f"starting {name}", 0)
    server = StartedServer(name, command, OFF)
    stack.callback(server.stop)
    server.wait()
    entry = served_model(server.endpoint, None)
    subject = Subject(name, server.endpoint, entry["id"], str(entry.get("precision", "")), server.process.pid)
    subject.cold_start, subject.shape = server.cold_start, shape_of(model) or shape_of(entry["id"])
    return subject


def interleaved(args: argparse.Namespace, rows: dict[str, float], by_cpu: dict[str, float]) -> dict[str, Any]:
    """Throughput, shares, latencies: everything up at once, in turns."""
    with ExitStack() as stack:
        others, ours, bares = [], {}, {}
        if not args.no_naive:
            others.append(start("naive", script_command("naive_server.py", "--model", args.model), stack, args.model))
        for precision in [] if args.no_st else args.precision:
            command = script_command(
                "st_server.py", "--model", args.model, "--precision", precision, python=args.st_python
            )
            others.append(start(f"st {precision}", command, stack, args.model))
        for precision in args.precision:
            ours[precision] = start(f"ours {precision}", own_command(args.model, precision), stack, args.model)
            bares[precision] = BareProcess(args.model, precision)
            stack.callback(bares[precision].stop)
            bares[precision].ask("wave 0")
        subjects = [*others, *ours.values()]
        rates = matmul_rates(args.precision, args.rate)
        for subject in ours.values():
            subject.rate = rates.get(subject.precision)
        plan = Plan(rounds=1, seconds=args.seconds, probe_seconds=0)
        turns: list[Any] = []
        for number in range(args.rounds):
            run(subjects, replace(plan, seed=number), say)  # appends a turn to each
            for precision, bare in bares.items():
                say(f"bare {precision}", 0)
                answer = bare.ask(f"wave {args.seconds}")
                bare.rates.append(answer["texts_per_second"])
                bare.cpu_rates.append(answer["texts_per_cpu_second"])
                bare.single.append(bare.ask("single 40")["p50"])
                ours_single = percentile(ours[precision].idle, 50)
                turns.append((precision, ours_single, bare.single[-1]))
        probed = replace(plan, rounds=0, probe_seconds=max(10.0, args.seconds))
        run(list(ours.values()), probed, say)
        report = as_dict(subjects, replace(plan, rounds=args.rounds))
    by_name = {subject.name: subject for subject in subjects}
    per_cpu = {figures["name"]: figures["texts_per_server_cpu_second"] for figures in report["servers"]}
    for figures in report["servers"]:
        precision = figures["name"].removeprefix("ours ")
        if figures["matmul_share"] is not None:
            rows[f"{precision} share of matrix-product rate, %"] = 100 * figures["matmul_share"]
    for precision, subject in ours.items():
        if "naive" in by_name:
            rows[f"{precision} x naive"] = subject.ratio(by_name["naive"]) or 0.0
            by_cpu[f"{precision} x naive"] = per_cpu[subject.name] / per_cpu["naive"]
        if f"st {precision}" in by_name:
            other = f"{precision} x sentence-transformers OpenVINO"
            rows[other] = subject.ratio(by_name[f"st {precision}"]) or 0.0
            by_cpu[other] = per_cpu[subject.name] / per_cpu[f"st {precision}"]
        bare = bares[precision]
        cost = median(b / s - 1 for b, s in zip(bare.rates, subject.rates(), strict=True))
        rows[f"{precision} cost over the bare backend, %"] = 100 * cost
        by_cpu[f"{precision} cost over the bare backend, %"] = 100 * (
            median(bare.cpu_rates) / per_cpu[subject.name] - 1
        )
        singles = [mine / its for p, mine, its in turns if p == precision and mine]
        rows[f"{precision} one text idle p50 x bare call"] = median(singles)
        rows[f"{precision} one text during a scan p95, ms"] = 1000 * (percentile(subject.loaded, 95) or 0.0)
    return report


def crowd(model: str, precision: str) -> float:
    """Peak RSS in MB of a fresh server under 100 clients x 60 texts, each once."""
    with ExitStack() as stack:
        subject = start(f"ours {precision}, for 100 x 60", own_command(model, precision), stack, model)
        meter = Meter(subject.pid or 0)
        turn = drive(subject.endpoint, requests_of(waves(1, 6_000), subject.model, 60), 100, 1, 0)
        judge(turn, None)
        meter.close()
        if turn.errors:
            raise SystemExit(f"100 x 60, {precision}: {dict(turn.errors)}")
        return meter.peak / 1024 / 1024


def cached(model: str, precision: str, seconds: float) -> float:
    """Texts/s of texts that an earlier run of the server left in the disk cache."""
    from embedserve.settings import load_settings

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name in ("artefacts", "models", "hub"):  # the model stays installed; only the cache is fresh
            if (load_settings().home / name).exists():
                (home / name).symlink_to(load_settings().home / name)
        speeds, count = [], 1
        for fill in (True, False):
            server = StartedServer(
                f"ours {precision}, cached", own_command(model, precision), {"EMBEDDING_HOME": folder}
            )
            try:
                server.wait()
                served = served_model(server.endpoint, None)["id"]
                load = requests_of(waves(40, 600), served, 60)
                turn = drive(server.endpoint, load, 10, count, seconds if fill else 0)
                judge(turn, None)
                if turn.errors:
                    raise SystemExit(f"cached, {precision}: {dict(turn.errors)}")
                count = turn.texts // 600
                speeds.append(turn.texts / turn.seconds)
            finally:
                server.stop()
        say(f"cached {precision}: {speeds[0]:.0f} texts/s when new, {speeds[1]:.0f} after the restart", 0)
        return speeds[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", action="append", choices=("bf16", "int8", "fp32"))
    parser.add_argument("--no-naive", action="store_true")
    parser.add_argument("--no-st", action="store_true")
    parser.add_argument("--st-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", action="append", default=[], metavar="P=GFLOPS")
    parser.add_argument("--only", choices=("interleaved", "crowd", "cold", "cached"), action="append")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    end_on_sigterm()
    args.precision = args.precision or ["bf16", "int8"]
    wanted = args.only or ["interleaved", "crowd", "cold", "cached"]
    rows: dict[str, float] = {}
    by_cpu: dict[str, float] = {}
    report: dict[str, Any] = {}
    if "interleaved" in wanted:
        report = interleaved(args, rows, by_cpu)
        Console(width=160).print(table(report))
    for precision in args.precision:
        if "crowd" in wanted:
            rows[f"{precision} peak RSS at 100 x 60, MB"] = crowd(args.model, precision)
        if "cold" in wanted:
            from cold_start import cold_starts

            rows[f"{precision} start to first embedding, s"] = median(cold_starts(args.model, precision, 4, OFF)[1:])
        if "cached" in wanted:
            rows[f"{precision} all cached, after a restart, texts/s"] = cached(args.model, precision, args.seconds)
    _print(rows, by_cpu, args.model)
    if args.json:
        args.json.write_text(
            json.dumps({"model": args.model, "rows": rows, "by_cpu_time": by_cpu, "interleaved": report}, indent=1)
        )
    return 0


def _print(rows: dict[str, float], by_cpu: dict[str, float], model: str) -> None:
    shape = shape_of(model)
    is_jina = bool(shape and shape.gated)
    shown = Table("what", "target", "reached", "", "by CPU time", title=model, title_justify="left")
    for name, (least, jina, mini) in TARGETS.items():
        if name not in rows:
            continue
        target, value = jina if is_jina else mini, rows[name]
        bound = "–" if target is None else f"{'>=' if least else '<='} {target:g}"
        met = target is None or (value >= target if least else value <= target)
        reached = f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
        again = f"{by_cpu[name]:.2f}" if name in by_cpu else ""
        shown.add_row(name, bound, reached, "" if met else "MISSED", again)
    Console().print(shown)


if __name__ == "__main__":
    sys.exit(main())
