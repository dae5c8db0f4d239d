"""`embedserve bench`: drive servers as an indexing client does, and say what they did.

What is measured: each URL given; or, started here on free ports with the cache off, `embedserve serve` (once for
each --precision), the naive baseline (--naive), sentence-transformers with OpenVINO (--against st) and any other server
(--against NAME=COMMAND). With --in-process no server at all: the engine by itself (bench/in_process.py).
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedserve.bench.client import Endpoint
    from embedserve.bench.runner import Plan, Subject


def configure(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what is measured (default: embedserve serve, started here, cache off)")
    what.add_argument("urls", nargs="*", metavar="URL", help="a running server, like http://127.0.0.1:4000/v1")
    what.add_argument("--model", help="model id or folder (default: what the URL serves; else all-MiniLM-L6-v2)")
    what.add_argument(
        "--precision", action="append", metavar="P", help="start ours with this precision; may be repeated"
    )
    what.add_argument(
        "--in-process",
        action="store_true",
        help="the engine without a server: texts/s one at a time and in batches of 10 and of 50",
    )
    what.add_argument("--naive", action="store_true", help="start the naive baseline, too; ratios are to it")
    what.add_argument(
        "--against",
        action="append",
        metavar="st[:P]|NAME=COMMAND",
        default=[],
        help="start sentence-transformers with OpenVINO in precision P (bf16), too; st-torch: with PyTorch; "
        "NAME=COMMAND: any other server, which is given --port N",
    )
    what.add_argument(
        "--st-python",
        default=None,
        metavar="PATH",
        help="Python of its environment (scripts/bench/st-requirements.txt)",
    )
    what.add_argument(
        "--cache",
        choices=("off", "memory", "disk"),
        default="off",
        help="of the servers of ours that are started (default: off)",
    )
    what.add_argument("--api-key", default="local", help="for the URLs")

    load = parser.add_argument_group("the load (texts: unique code of the standard library, in clients' lengths)")
    load.add_argument("--parallel", type=int, default=10, metavar="N", help="requests in flight (10)")
    load.add_argument("--texts", type=int, default=60, metavar="N", help="texts a request (60)")
    load.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each server, interleaved (3)")
    load.add_argument("--seconds", type=float, default=10.0, metavar="S", help="least length of a turn (10)")
    load.add_argument(
        "--probe-seconds", type=float, default=10.0, metavar="S", help="turn with single texts in between; 0: none (10)"
    )
    load.add_argument(
        "--duplicates", type=float, default=0.0, metavar="SHARE", help="of repeated texts; clients have about 0.09 (0)"
    )
    load.add_argument("--repeat", action="store_true", help="send the same texts again and again: measures a cache")
    load.add_argument("--seed", type=int, default=0, help="which texts (0)")

    out = parser.add_argument_group("the result")
    out.add_argument("--json", action="store_true", help="print JSON instead of the table")
    out.add_argument("--plot", type=Path, metavar="FILE", help="write a picture (PNG), too")
    out.add_argument(
        "--rate",
        action="append",
        default=[],
        metavar="P=GFLOPS",
        help="this machine's matrix-product rate (default: measured when run from a checkout)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print. Returns 1 when any request failed."""
    if args.in_process:
        return _in_process(args)
    import json

    from rich.console import Console

    from embedserve.bench import report, runner
    from embedserve.bench.servers import end_on_sigterm

    end_on_sigterm()
    plan = _plan(args)
    with ExitStack() as stack:
        subjects = _subjects(args, stack)
        with _Progress() as progress:
            runner.run(subjects, plan, progress.say)
    result = report.as_dict(subjects, plan)
    if args.plot:
        report.plot(result, args.plot)
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        Console().print(report.table(result))
    failed = [(s.name, text, count) for s in subjects for text, count in s.errors.items()]
    for name, text, count in failed:
        Console(stderr=True).print(f"{name}: {count} x {text}", markup=False)
    return 1 if failed else 0


def _in_process(args: argparse.Namespace) -> int:
    import json

    from rich.console import Console

    from embedserve.bench import in_process
    from embedserve.errors import SetupError
    from embedserve.service import EmbeddingService
    from embedserve.settings import load_settings

    if args.urls or args.naive or args.against or args.plot:
        raise SetupError("--in-process measures this machine's engine alone: no URL, --naive, --against or --plot")
    if args.rounds < 1:
        raise SetupError("--rounds must be at least 1")
    model, settings = args.model or "all-MiniLM-L6-v2", load_settings()
    with ExitStack() as stack:
        subjects = []
        for precision in args.precision or [settings.precision]:
            service = stack.enter_context(EmbeddingService(model, device=settings.device, dtype=precision))
            subjects.append(in_process.Subject(f"{service.precision} on {service.device}", service.embed, service.why))
        in_process.run(subjects, rounds=args.rounds, seconds=args.seconds, seed=args.seed)
    result = in_process.as_dict(subjects, model, args.rounds)
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        console = Console()
        console.print(in_process.table(result))
        for subject in subjects:
            console.print(f"{subject.name}: {subject.why}", markup=False, style="dim")
    return 0


def _plan(args: argparse.Namespace) -> Plan:
    from embedserve.bench.runner import Plan
    from embedserve.errors import SetupError

    if min(args.parallel, args.texts, args.rounds) < 1 or not 0 <= args.duplicates < 1:
        raise SetupError("--parallel, --texts and --rounds must be at least 1, --duplicates from 0 to under 1")
    return Plan(
        parallel=args.parallel,
        texts=args.texts,
        rounds=args.rounds,
        seconds=args.seconds,
        unique_waves=max(1, min(40, 24_000 // (args.parallel * args.texts))),
        repeat=args.repeat,
        duplicates=args.duplicates,
        probe_seconds=args.probe_seconds,
        seed=args.seed,
    )


def _subjects(args: argparse.Namespace, stack: ExitStack) -> list[Subject]:
    """The servers, up and asked what they serve; the baseline first. Those started end with the stack."""
    import shlex
    import sys

    from embedserve.bench.client import Endpoint
    from embedserve.bench.rates import matmul_rates
    from embedserve.bench.servers import StartedServer, listener, own_command, script_command

    model = args.model or "all-MiniLM-L6-v2"
    started: list[tuple[str, list[str]]] = []
    if args.naive:
        started.append(("naive", script_command("naive_server.py", "--model", model)))
    for other in args.against:
        name, given, command = other.partition("=")
        if given:
            started.append((name, shlex.split(command)))
            continue
        kind, _, precision = other.partition(":")
        started.append(
            (
                f"{kind} {precision or 'bf16'}",
                _other(kind, precision or "bf16", model, args.st_python or sys.executable),
            )
        )
    for precision in args.precision or ([] if args.urls else ["auto"]):
        started.append((f"embedserve {precision}", own_command(model, precision)))
    subjects = []
    for name, command in started:
        print(f"starting {name} ...", file=sys.stderr)
        server = StartedServer(name, command, {"EMBEDDING_CACHE": args.cache})
        stack.callback(server.stop)
        server.wait()
        subject = _subject(name, server.endpoint, None, args.model or model)
        subject.pid, subject.cold_start = server.process.pid, server.cold_start
        subjects.append(subject)
    for url in args.urls:
        endpoint = Endpoint(url, args.api_key)
        subject = _subject(url.removeprefix("http://"), endpoint, args.model, args.model)
        subject.pid = listener(endpoint)
        subjects.append(subject)
    rates = matmul_rates({s.precision for s in subjects if s.precision and s.shape}, args.rate)
    for subject in subjects:
        subject.rate = rates.get(subject.precision)
    return subjects


def _other(kind: str, precision: str, model: str, python: str) -> list[str]:
    from embedserve.bench.servers import script_command
    from embedserve.errors import SetupError

    known = {"st": ("fp32", "bf16", "int8"), "st-torch": ("fp32", "bf16")}
    if precision not in known.get(kind, ()):
        shown = ", ".join(f"{name}:{one}" for name, precisions in known.items() for one in precisions)
        raise SetupError(f"--against {kind}:{precision}: known are {shown}")
    torch = ["--torch"] if kind == "st-torch" else []
    return script_command("st_server.py", "--model", model, "--precision", precision, *torch, python=python)


def _subject(name: str, endpoint: Endpoint, wanted: str | None, shape: str | None) -> Subject:
    from embedserve.bench.client import served_model
    from embedserve.bench.runner import Subject
    from embedserve.bench.shapes import shape_of

    entry = served_model(endpoint, wanted)
    return Subject(
        name=name,
        endpoint=endpoint,
        model=entry["id"],
        precision=str(entry.get("precision") or ""),
        shape=shape_of(shape or entry["id"]) or shape_of(entry["id"]),
    )


class _Progress:
    """One live line on stderr: what runs, texts answered, texts/s since it began."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.status import Status

        self._status = Status("", console=Console(stderr=True))
        self._what, self._texts, self._start = "", 0, 0.0

    def __enter__(self) -> _Progress:
        self._status.start()
        return self

    def say(self, what: str, texts: int) -> None:
        import time

        if what:
            self._what, self._texts, self._start = what, 0, time.perf_counter()
        self._texts += texts
        seconds = max(1e-3, time.perf_counter() - self._start)
        rate = f"  {self._texts} texts, {self._texts / seconds:.0f}/s" if self._texts else ""
        self._status.update(self._what + rate)

    def __exit__(self, *exc: object) -> None:
        self._status.stop()
