"""Simulates replicas under load: arrivals, queueing, autoscaling by the policy of `embedserve.scaling`.

    python scripts/bench/scale_sim.py check MEASURED.json         what ray_serve.py measured, and what this says of it
    python scripts/bench/scale_sim.py plan --rate 500 --work 0.2  replicas, waits and utilisation at a rate

Requests come by a Poisson process, or from clients that send the next one when they have the answer. One queue, first
come first served, as Ray Serve keeps replicas equally busy. A replica takes up to `together` requests at once and
answers them together, as its micro-batches hold texts of several: `work` seconds of one core for each in a full batch,
`alone` for one that has no company. `cores` bounds what all replicas do, equally shared (three replicas on two cores
have two thirds of a core each). `beside`: cores that work for each that a replica keeps busy, in the proxy, in Ray and
in the client. Replicas are added by `desired_replicas`, after `upscale_delay` and `startup` seconds. Not modelled: the
network, a replica that dies.

It is believed as far as it agrees with Erlang's formula (tests/bench/test_scale_sim.py) and with what was measured.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import sys
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from embedserve.scaling.autoscaling import desired_replicas


@dataclass(frozen=True)
class Scaling:
    """Ray's autoscaling: seconds, requests and texts. `texts`: of one request."""

    most: int
    least: int = 1
    target_ongoing: float = 4.0
    target_texts: float = 240.0
    texts: int = 20
    upscale_delay: float = 10.0
    downscale_delay: float = 300.0
    startup: float = 10.0
    look_back: float = 20.0
    period: float = 1.0


@dataclass(frozen=True)
class Load:
    """`rate`: (from second, requests a second), a step function; or `times`, when each comes; or `clients` that always
    have one request open. `together`: requests of a batch at most; `work`: mean seconds of a core for each in a full
    batch; `alone`: for one without company (None: the same); `spread`: "fixed" or "exponential"."""

    work: float
    rate: tuple[tuple[float, float], ...] = ()
    clients: int = 0
    spread: str = "fixed"
    alone: float | None = None
    together: int = 1
    times: tuple[float, ...] = ()

    def of(self, batch: int) -> float:
        """Seconds of a core for a batch of so many requests: linear between one and a full one."""
        if self.alone is None or self.together == 1:
            return self.work * batch
        return self.alone + (batch - 1) * (self.work * self.together - self.alone) / (self.together - 1)

    def at(self, time: float) -> float:
        """Requests a second at a time."""
        return next((rate for since, rate in reversed(self.rate) if since <= time), 0.0)


@dataclass(frozen=True)
class Point:
    """What ray_serve.py measured with some replicas under `clients`, or at `rate` requests a second."""

    replicas: int
    requests_s: float
    p50_ms: float
    p95_ms: float
    clients: int = 0
    rate: float = 0.0
    seconds: float = 0.0


@dataclass
class Result:
    """Seconds and counts of the requests that ended after the warm-up."""

    seconds: float
    waits: list[float] = field(default_factory=list)  # until the work began
    times: list[float] = field(default_factory=list)  # until the answer
    replicas: list[int] = field(default_factory=list)  # at each second

    @property
    def throughput(self) -> float:
        return len(self.times) / self.seconds

    def percentile(self, share: float) -> float:
        """Of the time until the answer."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan

    @property
    def mean_wait(self) -> float:
        return fmean(self.waits) if self.waits else 0.0


class Simulation:
    """One run. `replicas`: at its start; `scaling` None: they stay. `cores` None: one for each replica, and others for
    what is done `beside`."""

    def __init__(
        self,
        load: Load,
        replicas: int,
        cores: float | None = None,
        scaling: Scaling | None = None,
        seed: int = 0,
        beside: float = 0.0,
    ) -> None:
        self.load, self.scaling, self.cores = load, scaling, cores and cores / (1 + beside)
        self.random = random.Random(seed)
        self.now = self.progress = 0.0  # progress: work that a request has got which was in work from the start
        self.serving = replicas
        self.coming: list[float] = []  # when a replica that was asked for is ready
        self.queue: deque[float] = deque()  # when each came
        self.arrivals = iter(load.times)
        self.busy: list[tuple[float, float, list[float]]] = []  # (progress at its end, when it began, when each came)
        self.seen: deque[tuple[float, float]] = deque()  # (time, replicas desired)
        self.above = self.below = 0.0  # since when more, or fewer, are desired

    def run(self, seconds: float, warm_up: float = 0.0) -> Result:
        """What happened from `warm_up` to `warm_up + seconds`."""
        result, end = Result(seconds), warm_up + seconds
        for _ in range(self.load.clients):
            self._came(0.0)
        arrival = self._next_arrival()
        tick = 0.0
        while True:
            done = self.now + (self.busy[0][0] - self.progress) / self._speed() if self.busy else math.inf
            at = min(done, arrival, tick, self.coming[0] if self.coming else math.inf)
            if at >= end:
                return result
            self.progress += (at - self.now) * self._speed()
            self.now = at
            if at == done:
                self._ended(result, warm_up)
            elif at == arrival:
                self._came(at)
                arrival = self._next_arrival()
            elif at == tick:
                tick += self.scaling.period if self.scaling else 1.0
                if at >= warm_up:
                    result.replicas.append(self.serving)
                if self.scaling:
                    self._scale(self.scaling)
            else:
                heapq.heappop(self.coming)
                self.serving += 1
                self._begin()

    def _speed(self) -> float:
        """Cores that each request in work has."""
        return min(1.0, self.cores / len(self.busy)) if self.cores and self.busy else 1.0

    def _next_arrival(self) -> float:
        """The next of a Poisson process whose rate may change: candidates of the highest rate, thinned."""
        if self.load.times:
            return next(self.arrivals, math.inf)
        highest = max((rate for _, rate in self.load.rate), default=0.0)
        at = self.now
        while highest:
            at += self.random.expovariate(highest)
            if self.random.random() * highest <= self.load.at(at):
                return at
        return math.inf

    def _came(self, at: float) -> None:
        self.queue.append(at)
        self._begin()

    def _begin(self) -> None:
        while self.queue and len(self.busy) < self.serving:
            batch = [self.queue.popleft() for _ in range(min(self.load.together, len(self.queue)))]
            work = self.load.of(len(batch))
            if self.load.spread == "exponential":
                work = self.random.expovariate(1 / work)
            heapq.heappush(self.busy, (self.progress + work, self.now, batch))

    def _ended(self, result: Result, warm_up: float) -> None:
        _, began, batch = heapq.heappop(self.busy)
        for came in batch:
            if came >= warm_up or (self.load.clients and self.now >= warm_up):
                result.waits.append(began - came)
                result.times.append(self.now - came)
            if self.load.clients:
                self.queue.append(self.now)
        self._begin()

    def _scale(self, rules: Scaling) -> None:
        ongoing = len(self.queue) + sum(len(batch) for _, _, batch in self.busy)
        texts = len(self.queue) * rules.texts
        wanted = desired_replicas(
            ongoing=ongoing, texts=texts, target_ongoing=rules.target_ongoing, target_texts=rules.target_texts
        )
        self.seen.append((self.now, wanted))
        while self.seen[0][0] < self.now - rules.look_back:
            self.seen.popleft()
        desired = min(rules.most, max(rules.least, math.ceil(fmean(value for _, value in self.seen))))
        have = self.serving + len(self.coming)
        self.above = self.above + rules.period if desired > have else 0.0
        self.below = self.below + rules.period if desired < have else 0.0
        if self.above > rules.upscale_delay:
            self.above = 0.0
            for _ in range(desired - have):
                heapq.heappush(self.coming, self.now + rules.startup)
        elif self.below > rules.downscale_delay:
            self.below = 0.0
            self.serving = max(desired, len(self.busy), rules.least)  # one in work is drained, not cut off


def poisson(rate: float, seconds: float, seed: int = 1) -> list[float]:
    """When requests come, from 0 on: the same list for whoever sends them and for whoever simulates them."""
    draw, at, times = random.Random(seed), 0.0, []
    while (at := at + draw.expovariate(rate)) < seconds:
        times.append(at)
    return times


def erlang_c(servers: int, offered: float) -> float:
    """The probability that a request waits in M/M/c; `offered`: arrival rate x mean work, below `servers`.

    Erlang (1917), by the recursion of Erlang's B: B(0) = 1, B(k) = a B(k-1) / (k + a B(k-1))."""
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked / (1 - (offered / servers) * (1 - blocked))


def mean_wait(servers: int, rate: float, work: float) -> float:
    """Seconds in the queue in M/M/c: C(c, a) work / (c - a)."""
    return erlang_c(servers, rate * work) * work / (servers - rate * work)


def predict(measured: Point, work: float, alone: float, cores: float, beside: float, together: int) -> Result:
    """What the simulation says of one measured point; of a Poisson one with the very arrivals that were measured."""
    load = Load(work, clients=measured.clients, alone=alone, together=together)
    if not measured.rate:
        return Simulation(load, measured.replicas, cores, beside=beside).run(20_000 * work, 100 * work)
    load = replace(load, times=tuple(poisson(measured.rate, measured.seconds)))
    result = Simulation(load, measured.replicas, cores, beside=beside).run(10 * measured.seconds)
    return replace(result, seconds=measured.seconds)


def check(path: Path, together: int) -> int:
    """Compare with the file of ray_serve.py. Had from it: a request's work, of one replica's throughput; alone, of one
    client's p50; beside, of two replicas' throughput. All else is predicted."""
    found = json.loads(path.read_text())
    fields = Point.__dataclass_fields__
    points = [Point(**{name: value for name, value in point.items() if name in fields}) for point in found["points"]]
    one, two = (next(p for p in points if p.replicas == count and p.clients > 1) for count in (1, 2))
    work, cores = 1 / one.requests_s, found["cores"]
    alone = next(p for p in points if p.clients == 1).p50_ms / 1000
    beside = max(0.0, cores / (two.requests_s * work) - 1) if cores <= 2 else 0.0
    print(f"a request is {work:.3f} s of a core, {alone:.3f} s alone; {beside:.2f} cores beside each; {cores} cores")
    print("| replicas | load | requests/s | simulated | p50 ms | simulated | p95 ms | simulated |")
    print("|---|---|---|---|---|---|---|---|")
    worst = dict.fromkeys(("throughput", "p50", "p95"), 0.0)
    for point in points:
        said = predict(point, work, alone, cores, beside, together)
        load = f"{point.clients} client{'s' * (point.clients > 1)}" if point.clients else f"{point.rate:.2f} requests/s"
        p50, p95 = said.percentile(0.5) * 1000, said.percentile(0.95) * 1000
        print(
            f"| {point.replicas} | {load} | {point.requests_s:.2f} | {said.throughput:.2f} "
            f"| {point.p50_ms:.0f} | {p50:.0f} | {point.p95_ms:.0f} | {p95:.0f} |"
        )
        for what, ratio in (
            ("throughput", said.throughput / point.requests_s),
            ("p50", p50 / point.p50_ms),
            ("p95", p95 / point.p95_ms),
        ):
            worst[what] = max(worst[what], abs(ratio - 1))
    print("furthest: " + ", ".join(f"{what} {off:.0%}" for what, off in worst.items()))
    return 0 if worst["throughput"] <= 0.15 else 1


def plan(args: argparse.Namespace) -> int:
    """A day's peak: from a tenth of the rate to the rate, for an hour."""
    load = Load(args.work, ((0.0, args.rate / 10), (900.0, args.rate)), spread="exponential")
    scaling = Scaling(args.most, args.least, startup=args.startup, texts=args.texts)
    result = Simulation(load, args.least, None, scaling, args.seed).run(args.seconds)
    needed = args.rate * args.work
    print(f"offered work: {needed:.1f} cores at {args.rate:g} requests/s of {args.work:g} s")
    print(f"replicas: {max(result.replicas)} at most, {fmean(result.replicas):.1f} on average, {args.most} allowed")
    print(f"until the answer: p50 {result.percentile(0.5):.2f} s, p95 {result.percentile(0.95):.2f} s")
    peak = max(range(len(result.replicas)), key=result.replicas.__getitem__)
    print(f"most replicas {peak - 900:+d} s after the peak began; mean wait {result.mean_wait:.2f} s")
    fixed = math.ceil(needed) + 1
    print(f"M/M/c with {fixed} replicas: mean wait {mean_wait(fixed, args.rate, args.work):.3f} s")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    checked = actions.add_parser("check")
    checked.add_argument("measured", type=Path)
    checked.add_argument("--together", type=int, default=4, help="requests of a batch at most (4)")
    planned = actions.add_parser("plan")
    planned.add_argument("--rate", type=float, required=True, help="requests a second at the peak")
    planned.add_argument("--work", type=float, required=True, help="seconds of a core a request")
    planned.add_argument("--most", type=int, default=128, help="replicas at most (128)")
    planned.add_argument("--least", type=int, default=1, help="replicas at least (1)")
    planned.add_argument("--startup", type=float, default=10.0, help="seconds until a replica answers (10)")
    planned.add_argument("--texts", type=int, default=20, help="texts of a request (20)")
    planned.add_argument("--seconds", type=float, default=4500.0, help="of simulated time (4500)")
    planned.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    return check(args.measured, args.together) if args.action == "check" else plan(args)


if __name__ == "__main__":
    sys.exit(main())
