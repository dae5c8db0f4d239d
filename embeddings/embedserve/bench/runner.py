"""Several servers measured together, in short turns: A B C, A B C, ...

A machine's speed drifts (other tenants, heat); a ratio of two long runs drifts with it. Here each round gives each
server one turn, the ratio to the baseline is taken within the round, and the median over the rounds is
reported. All servers stay up; the others are idle during a turn.

Order: single texts one by one (idle latency); `rounds` rounds of pure load; then, unless switched off, one
more turn each with single texts in between (latency under load), which does not count for the throughput.
Every server gets the same waves in the same order; a wave is never repeated while there are unused ones.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from embedserve.bench.client import Endpoint, request_body
from embedserve.bench.load import Prober, Request, Turn, drive, judge
from embedserve.bench.servers import Meter
from embedserve.bench.shapes import Shape
from embedserve.bench.texts import short_texts, waves
from embedserve.errors import SetupError

_LOADED_PROBES = 500
Say = Callable[[str, int], None]  # what is being done; texts answered since the last call


@dataclass(frozen=True)
class Plan:
    """The load. Texts a wave: parallel x texts."""

    parallel: int = 10
    texts: int = 60
    rounds: int = 3
    seconds: float = 10.0  # least length of a turn
    unique_waves: int = 40
    repeat: bool = False  # one wave again and again, for servers that cache
    duplicates: float = 0.0
    idle_probes: int = 40
    probe_pause: float = 0.25
    probe_seconds: float = 10.0  # 0: no latency under load
    seed: int = 0


@dataclass
class Subject:
    """A server under test and what was measured. `rate`: matrix products of its precision, operations/s."""

    name: str
    endpoint: Endpoint
    model: str
    precision: str = ""
    pid: int | None = None
    cold_start: float | None = None
    shape: Shape | None = None
    rate: float | None = None
    turns: list[Turn] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    loaded: list[float] = field(default_factory=list)
    probe_turn: Turn | None = None
    probe_errors: Counter[str] = field(default_factory=Counter)
    peak_rss: int | None = None
    final_rss: int | None = None
    cosine: tuple[float, float] | None = None  # mean and worst, to the baseline's vectors of the first wave

    @property
    def errors(self) -> Counter[str]:
        probed = [self.probe_turn.errors] if self.probe_turn else []
        return sum([*(turn.errors for turn in self.turns), *probed, self.probe_errors], Counter())

    def rates(self) -> list[float]:
        """Texts/s of each turn."""
        return [turn.texts / turn.seconds for turn in self.turns]

    def ratio(self, baseline: Subject) -> float | None:
        """Median over the rounds of this one's texts/s through the baseline's in the same round."""
        pairs = [(mine, its) for mine, its in zip(self.rates(), baseline.rates(), strict=False) if its]
        return median(mine / its for mine, its in pairs) if pairs else None


def run(subjects: Sequence[Subject], plan: Plan, say: Say = lambda what, texts: None) -> None:
    """Measure; the figures are left in the subjects. Raises SetupError when the first request of one fails."""
    size = plan.parallel * plan.texts
    dealt = waves(1 if plan.repeat else plan.unique_waves, size, plan.duplicates, plan.seed)
    singles = short_texts(plan.idle_probes + 3 + _LOADED_PROBES, plan.seed + 1)
    loads = {id(s): requests_of(dealt, s.model, plan.texts) for s in subjects}
    meters = {id(s): Meter(s.pid) for s in subjects if s.pid}
    try:
        for subject in subjects:
            say(f"{subject.name}: single texts, idle", 0)
            _probe_idle(subject, singles[_LOADED_PROBES:])
        for number in range(plan.rounds):
            for subject in subjects:
                say(f"{subject.name}: round {number + 1} of {plan.rounds}", 0)
                _turn(subject, loads[id(subject)], plan, meters.get(id(subject)), say)
        if plan.probe_seconds:
            for subject in subjects:
                say(f"{subject.name}: single texts under load", 0)
                _probe_loaded(subject, singles[:_LOADED_PROBES], loads[id(subject)], plan, say)
        if plan.rounds:
            _compare(subjects)
        for subject in subjects:
            if meter := meters.get(id(subject)):
                subject.peak_rss, subject.final_rss = max(meter.peak, subject.peak_rss or 0), meter.rss()
    finally:
        for meter in meters.values():
            meter.close()


def requests_of(dealt: list[list[str]], model: str, texts: int) -> Iterator[list[Request]]:
    ready = [
        [
            Request(request_body(part, model), tuple(map(len, part)))
            for part in (wave[at : at + texts] for at in range(0, len(wave), texts))
        ]
        for wave in dealt
    ]
    return itertools.cycle(ready)


def _probe_idle(subject: Subject, texts: Sequence[str]) -> None:
    bodies = [request_body([text], subject.model) for text in texts]
    warm = Prober(subject.endpoint, bodies[:3])
    warm.run()
    if warm.errors:
        raise SetupError(f"{subject.name} at {subject.endpoint.url}: {next(iter(warm.errors))}")
    prober = Prober(subject.endpoint, bodies[3:])
    prober.run(seconds=15.0)
    subject.idle, subject.probe_errors = prober.latencies, prober.errors


def _turn(subject: Subject, load: Iterator[list[Request]], plan: Plan, meter: Meter | None, say: Say) -> None:
    first = not subject.turns
    before = meter.cpu() if meter else 0.0
    turn = drive(subject.endpoint, load, plan.parallel, 1, plan.seconds, lambda texts: say("", texts))
    if meter:
        turn.server_cpu = meter.cpu() - before
    judge(turn, subject.shape, plan.parallel if first else 0)
    subject.turns.append(turn)
    time.sleep(0.3)  # a server's tidying after the load, and its threads' spinning, are not the next one's


def _probe_loaded(subject: Subject, texts: Sequence[str], load: Iterator[list[Request]], plan: Plan, say: Say) -> None:
    bodies = [request_body([text], subject.model) for text in texts]
    with Prober(subject.endpoint, bodies, plan.probe_pause) as prober:
        turn = drive(subject.endpoint, load, plan.parallel, 1, plan.probe_seconds, lambda texts: say("", texts))
    judge(turn, subject.shape)
    subject.probe_turn, subject.loaded = turn, prober.latencies
    subject.probe_errors += prober.errors


def _compare(subjects: Sequence[Subject]) -> None:
    """Cosines of the first wave's vectors to the first subject's: is it the same model that was measured?"""
    reference = subjects[0].turns[0].vectors
    for subject in subjects[1:]:
        vectors = subject.turns[0].vectors
        if len(vectors) != len(reference) or any(a.shape != b.shape for a, b in zip(vectors, reference, strict=True)):
            continue
        a, b = np.concatenate(vectors), np.concatenate(reference)
        cosines = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        subject.cosine = float(cosines.mean()), float(cosines.min())
