"""Make an int8 artefact: calibrate, quantise, judge against fp32, install only if it is as good.

Steps, each on the progress bar: the fp32 model is converted (or found), quantised on real code (quantize.py),
and both embed held-out docstrings and functions (judge.py, bounds there), or score pairs of them where the model is a
cross-encoder (judge_scores.py). A model that breaks a bound is an
ArtefactError and nothing is installed. Without judging (`pairs=0`) the artefact says `guard: skipped`.
"""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from embedserve.backends import artefacts, convert
from embedserve.backends.base import TokenIds, Vectors
from embedserve.errors import ArtefactError, MissingExtra
from embedserve.machine import cpu
from embedserve.models import graph
from embedserve.models.prompts import DOCUMENT, QUERY, prefix
from embedserve.models.spec import ModelSource
from embedserve.models.tokenizer import load_tokenizer
from embedserve.optimizing import corpus, judge, judge_scores, quantize
from embedserve.optimizing.steps import Steps, shown_on

CUT = 512  # tokens of a text, for calibration and judging


def optimize(
    source: ModelSource,
    home: Path,
    *,
    calibrate: Path | None,
    texts: int,
    pairs: int,
    threads: int,
    console: Console,
) -> artefacts.Artefact:
    """Returns the installed artefact. pairs=0: do not judge."""
    try:
        version("nncf")
    except PackageNotFoundError:
        raise MissingExtra("int8 quantisation", "optimize") from None
    if source.spec.task == "score" and source.spec.dimension != 1 and pairs:
        raise ArtefactError(
            f"{source.spec.id} gives {source.spec.dimension} scores a pair, which cannot be judged (--no-guard)"
        )
    if "int8" not in source.spec.dtypes:
        raise ArtefactError(f"int8 is wrong for {source.spec.id}: its weights allow {', '.join(source.spec.dtypes)}")
    if not cpu.features().int8:
        console.print(
            f"{cpu.features().name} has no int8 dot products: an int8 model is smaller than fp32 there and was slower "
            "wherever it was measured (0.7 times for MiniLM). `auto` uses it only if it is not slower here."
        )
    with shown_on(console) as bar:
        job = _Job(source, home, threads or cpu.usable_cores(), bar)
        return artefacts.build(
            source, "int8", home, lambda folder: job.make(folder, calibrate, texts, pairs), replace=True
        )


class _Job:
    def __init__(self, source: ModelSource, home: Path, threads: int, bar: Steps) -> None:
        self.source, self.threads, self.bar = source, threads, bar
        self.tokenizer = load_tokenizer(source)
        self.limit = min(CUT, self.tokenizer.max_tokens)
        self.scores = source.spec.task == "score"
        step = bar.add_task("convert to OpenVINO fp32", total=1)
        self.fp32 = convert.artefact(source, "fp32", home)
        bar.advance(step)

    def make(self, folder: Path, calibrate: Path | None, texts: int, pairs: int) -> dict[str, Any]:
        """Write the model into folder; returns the artefact's notes. Raises ArtefactError if it is worse."""
        chunks = corpus.calibration_texts(calibrate, texts)
        if not chunks:
            raise ArtefactError(f"{calibrate} has no text to calibrate on")
        if self.scores:
            ids = judge_scores.calibration_ids(self.tokenizer, chunks, self.limit)
        else:  # as a server sees them: queries and documents, each behind its prompt
            ids = self._ids(chunks, QUERY, DOCUMENT)
        step = self.bar.add_task("calibrate", total=quantize.PASSES * len(ids))
        features = cpu.features()
        nncf = quantize.quantize(
            self.fp32.model,
            graph.encoder_of(self.source.spec),
            ids,
            folder,
            lambda done: self.bar.advance(step, done),
            saturates=not features.int8,
        )
        notes = {
            artefacts.MADE_ON: features.int8_class,
            "calibrated_on": "a folder" if calibrate else "the Python standard library",
            "texts": len(chunks),
            "nncf": nncf,
        }
        if not pairs:
            return {"guard": "skipped", **notes}
        verdict, times_fp32 = self._judge(folder, pairs)
        self.bar.console.print(table(verdict))
        if verdict.faults:
            raise ArtefactError(f"not installed, the int8 model is worse than allowed: {'; '.join(verdict.faults)}")
        return {"guard": "passed", **notes, artefacts.TIMES_FP32: round(times_fp32, 2), **verdict.notes}

    def _judge(self, folder: Path, count: int) -> tuple[judge.Verdict | judge_scores.ScoreVerdict, float]:
        """The verdict, and int8's speed as a multiple of fp32's, by CPU time on this very machine."""
        pairs = corpus.judging_pairs(count)
        if len(pairs) < 100:
            raise ArtefactError(
                f"this Python's standard library has only {len(pairs)} functions with docstrings to judge on; "
                "--no-guard installs without judging"
            )
        if self.scores:
            ids = judge_scores.judging_ids(self.tokenizer, pairs, self.limit)
        else:
            ids = self._ids([p.query for p in pairs], QUERY) + self._ids([p.document for p in pairs], DOCUMENT)
        started = time.process_time()
        reference = self._rows(self.fp32, ids)
        between = time.process_time()
        candidate = self._rows(artefacts.Artefact(folder, "int8", {}), ids)
        times_fp32 = (between - started) / (time.process_time() - between)
        self.bar.console.print(f"int8 runs at {times_fp32:.2f} times the speed of fp32 here")
        if self.scores:
            return judge_scores.compare(reference, candidate), times_fp32
        was, now = ((rows[: len(pairs)], rows[len(pairs) :]) for rows in map(judge.unit, (reference, candidate)))
        return judge.compare(was, now), times_fp32

    def _rows(self, artefact: artefacts.Artefact, ids: list[TokenIds]) -> Vectors:
        from embedserve.backends.openvino_backend import OpenVinoBackend

        step = self.bar.add_task(f"judge {artefact.precision}", total=len(ids))
        backend = OpenVinoBackend(artefact, self.source.spec, threads=self.threads, why="judged")
        try:
            return judge.rows_of(backend, ids, lambda done: self.bar.advance(step, done))
        finally:
            backend.close()

    def _ids(self, texts: list[str], *sides: str) -> list[TokenIds]:
        """sides: "query" or "document", whose prompt is put before the texts; several: in turn."""
        prompts = [prefix(self.source.spec, side=side) for side in sides]
        prompted = [prompts[i % len(prompts)] + text for i, text in enumerate(texts)]
        return [encoding.ids for encoding in self.tokenizer.encode(prompted, self.limit)]


def table(verdict: judge.Verdict | judge_scores.ScoreVerdict) -> Table:
    """What the user reads before the model is installed or refused."""
    shown = Table(title=verdict.title)
    for column in ("", "fp32", "int8", "bound"):
        shown.add_column(column, justify="left" if not column else "right")
    for row in verdict.rows:
        shown.add_row(*row)
    return shown
