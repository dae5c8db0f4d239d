"""Make an int8 artefact: calibrate, quantise, judge against fp32, install only if it is as good.

Steps, each on the progress bar: the fp32 model is converted (or found), quantised on real code (quantize.py),
and both embed held-out docstrings and functions (judge.py, bounds there). A model that breaks a bound is an
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
from embedserve.models.spec import ModelSource
from embedserve.models.tokenizer import load_tokenizer
from embedserve.optimizing import corpus, judge, quantize
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
    if "int8" not in source.spec.dtypes:
        raise ArtefactError(f"int8 is wrong for {source.spec.id}: its weights allow {', '.join(source.spec.dtypes)}")
    with shown_on(console) as bar:
        job = _Job(source, home, threads or cpu.usable_cores(), bar)
        return artefacts.build(
            source, "int8", home, lambda folder: job.make(folder, calibrate, texts, pairs), replace=True
        )


class _Job:
    def __init__(self, source: ModelSource, home: Path, threads: int, bar: Steps) -> None:
        self.source, self.threads, self.bar = source, threads, bar
        self.tokenizer = load_tokenizer(source)
        step = bar.add_task("convert to OpenVINO fp32", total=1)
        self.fp32 = convert.artefact(source, "fp32", home)
        bar.advance(step)

    def make(self, folder: Path, calibrate: Path | None, texts: int, pairs: int) -> dict[str, Any]:
        """Write the model into folder; returns the artefact's notes. Raises ArtefactError if it is worse."""
        chunks = corpus.calibration_texts(calibrate, texts)
        if not chunks:
            raise ArtefactError(f"{calibrate} has no text to calibrate on")
        step = self.bar.add_task("calibrate", total=quantize.PASSES * len(chunks))
        features = cpu.features()
        nncf = quantize.quantize(
            self.fp32.model,
            self._ids(chunks),
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
        return {
            "guard": "passed",
            **notes,
            artefacts.TIMES_FP32: round(times_fp32, 2),
            "pairs": verdict.pairs,
            "mrr_fp32": round(verdict.reference.mrr, 4),
            "mrr": round(verdict.candidate.mrr, 4),
            "recall_at_10": round(verdict.candidate.recall_at_10, 4),
            "cosine_mean": round(verdict.cosine_mean, 5),
            "cosine_worst": round(verdict.cosine_worst, 5),
        }

    def _judge(self, folder: Path, count: int) -> tuple[judge.Verdict, float]:
        """The verdict, and int8's speed as a multiple of fp32's, by CPU time on this very machine."""
        pairs = corpus.judging_pairs(count)
        if len(pairs) < 100:
            raise ArtefactError(
                f"this Python's standard library has only {len(pairs)} functions with docstrings to judge on; "
                "--no-guard installs without judging"
            )
        ids = self._ids([p.query for p in pairs]), self._ids([p.document for p in pairs])
        started = time.process_time()
        reference = self._vectors(self.fp32, ids)
        between = time.process_time()
        candidate = self._vectors(artefacts.Artefact(folder, "int8", {}), ids)
        times_fp32 = (between - started) / (time.process_time() - between)
        self.bar.console.print(f"int8 runs at {times_fp32:.2f} times the speed of fp32 here")
        return judge.compare(reference, candidate), times_fp32

    def _vectors(
        self, artefact: artefacts.Artefact, ids: tuple[list[TokenIds], list[TokenIds]]
    ) -> tuple[Vectors, Vectors]:
        from embedserve.backends.openvino_backend import OpenVinoBackend

        step = self.bar.add_task(f"judge {artefact.precision}", total=sum(map(len, ids)))
        native = cpu.features().bf16
        backend = OpenVinoBackend(artefact, self.source.spec, threads=self.threads, native_bf16=native, why="judged")
        try:
            queries, documents = (
                judge.unit_vectors(backend, part, lambda done: self.bar.advance(step, done)) for part in ids
            )
        finally:
            backend.close()
        return queries, documents

    def _ids(self, texts: list[str]) -> list[TokenIds]:
        limit = min(CUT, self.tokenizer.max_tokens)
        return [encoding.ids for encoding in self.tokenizer.encode(texts, limit)]


def table(verdict: judge.Verdict) -> Table:
    """What the user reads before the model is installed or refused."""
    shown = Table(title=f"{verdict.pairs} docstring → function pairs of the Python standard library, held out")
    for column in ("", "fp32", "int8", "bound"):
        shown.add_column(column, justify="left" if not column else "right")
    was, now = verdict.reference, verdict.candidate
    shown.add_row("MRR", f"{was.mrr:.4f}", f"{now.mrr:.4f}", f">= {was.mrr - judge.MOST_MRR_LOSS:.4f}")
    shown.add_row("recall@10", f"{was.recall_at_10:.4f}", f"{now.recall_at_10:.4f}", "")
    shown.add_row("cosine to fp32, mean", "1", f"{verdict.cosine_mean:.5f}", f">= {judge.LEAST_MEAN_COSINE}")
    shown.add_row("cosine to fp32, worst", "1", f"{verdict.cosine_worst:.5f}", "")
    return shown
