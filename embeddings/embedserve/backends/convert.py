"""From a checkpoint to an OpenVINO or ONNX model, in a process of its own.

The graph is written from the checkpoint's numbers (models/graph.py through openvino_ops.py or onnx_ops.py); neither
torch nor transformers is needed. Then it is believed only after it was run: its vectors of CHECKED short texts of
random tokens, and of one that is longer than the model's windows, must be those of NumPy's float32 (numpy_ops.py), and
the manifest says how far apart they were. That guards against what a library's compiler does to a graph; that the
statement itself is the published model is held by the parity tests against sentence-transformers.

A process of its own, because a conversion holds the model's weights several times over, which would stay in a
server's memory. An error there is the same error here.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from embedserve import errors
from embedserve.backends import artefacts
from embedserve.backends.base import TokenIds, Vectors
from embedserve.backends.biases import Biases
from embedserve.backends.packing import Feed, pack
from embedserve.models import graph
from embedserve.models.encoder import Encoder, biases
from embedserve.models.parameters import Parameters
from embedserve.models.spec import ModelSource

CHECKED = 24  # texts
LONGEST = 24  # tokens of one of them
LEAST_COSINE = 0.99999  # of fp32; half-precision weights change the vectors by more: HALF
HALF = 0.999
_FAILED = 3  # exit code: a JSON error is on stdout


def artefact(source: ModelSource, precision: str, home: Path) -> artefacts.Artefact:
    """The fp32, bf16 or onnx artefact; made now if it is missing, stale or torn (seconds)."""
    return artefacts.find(source, precision, home) or artefacts.build(
        source, precision, home, lambda folder: convert_in_child(source, precision, folder)
    )


def convert_in_child(source: ModelSource, precision: str, folder: Path) -> dict[str, Any]:
    """`convert` in a process of its own, whose memory ends with it. Raises what the child raised."""
    child = subprocess.run(
        [sys.executable, "-m", "embedserve.backends.convert"],
        input=pickle.dumps((source, precision, folder)),
        capture_output=True,
        check=False,
        env={**os.environ, "CI": "true"},  # OpenVINO then reports nothing to its makers
    )
    if child.returncode in (0, _FAILED):
        outcome = pickle.loads(child.stdout)  # our own child's
        if isinstance(outcome, errors.EmbedServeError):
            raise outcome
        return dict(outcome)
    last = "\n".join(child.stderr.decode(errors="replace").strip().splitlines()[-5:])
    raise errors.ArtefactError(
        f"converting {source.spec.id} ({precision}) failed (exit code {child.returncode}; EMBEDDING_BACKEND=torch "
        f"works without a conversion): {last}"
    )


def convert(source: ModelSource, precision: str, folder: Path) -> dict[str, Any]:
    """Write the artefact's files and compare them with the reference; returns notes. OpenVINO's weights are kept in
    float32 for fp32, else in float16: half the file and half the memory, and nothing lost that bf16 could hold."""
    parameters = graph.load_parameters(source)
    target = folder / artefacts.files(precision)[0]
    if precision == artefacts.ONNX:
        from embedserve.backends import onnx_ops

        onnx_ops.build(source.spec, parameters, target)
        run = _onnx(target)
    else:
        run = _openvino(source, parameters, target, half=precision != "fp32")
    return _compared(source, parameters, run, LEAST_COSINE if precision in ("fp32", artefacts.ONNX) else HALF)


Run = Callable[[Feed], Vectors]


def _openvino(source: ModelSource, parameters: Parameters, target: Path, half: bool) -> Run:
    import openvino

    from embedserve.backends import openvino_ops

    built = openvino_ops.build(source.spec, parameters)
    try:
        # It marks what it compresses, and its CPU plugin packs that for bf16 straight from the mapped file. A float16
        # constant that the graph converts by itself it would hold in float32.
        openvino.save_model(built, target, compress_to_fp16=half)
    except RuntimeError as error:
        if "iostream" not in str(error):  # all that the library says of a write that was refused
            raise
        free = shutil.disk_usage(target.parent).free >> 20
        raise errors.ArtefactError(
            f"the converted model could not be written to {target.parent.parent}: is the disk full? {free} MiB are free"
        ) from None
    compiled = openvino.Core().compile_model(target, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [i.get_any_name() for i in compiled.inputs]
    return lambda feed: np.array(compiled({name: feed[name] for name in names})[0])


def _onnx(target: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return lambda feed: np.asarray(session.run(None, {name: feed[name] for name in names})[0])


def sample(vocabulary: int, longest: int) -> list[TokenIds]:
    """The texts that a conversion is checked on: the same ones each time, of 1 to `longest` tokens."""
    pick = np.random.default_rng(0)
    lengths = [1, longest, *pick.integers(1, longest + 1, CHECKED - 2)]
    return [pick.integers(0, vocabulary, n).astype(np.int32) for n in lengths]


def beyond_windows(encoder: Encoder) -> list[TokenIds]:
    """A text in which tokens lie outside each other's window, where the model has windows."""
    windows = [window for window in encoder.windows if window is not None]
    if not windows:
        return []
    length = min(encoder.max_tokens, max(windows) + LONGEST)
    return [np.random.default_rng(1).integers(0, encoder.vocabulary, length).astype(np.int32)]


def _compared(source: ModelSource, parameters: Parameters, run: Run, least: float) -> dict[str, Any]:
    """Raises ArtefactError where the export is not the model."""
    from embedserve.backends import numpy_ops

    encoder = graph.encoder_of(source.spec)
    texts = sample(encoder.vocabulary, min(LONGEST, encoder.max_tokens)) + beyond_windows(encoder)
    found, wanted = run(pack(texts, biases=Biases(biases(encoder)))), numpy_ops.embed(source.spec, parameters, texts)
    worst = float(_closeness(found, wanted, source.spec.task).min())
    if not worst >= least:  # NaN is a failure too
        raise errors.ArtefactError(
            f"the export of {source.spec.id} is not the model: on {len(texts)} texts it is as close as {worst:.6f} to "
            f"the reference (at least {least}); EMBEDDING_BACKEND=torch does without it"
        )
    return {"compared": f"{len(texts)} texts with NumPy's float32", "cosine_worst": round(worst, 8)}


def _closeness(found: Vectors, wanted: Vectors, task: str) -> Any:
    """One number a text: 1 is the same."""
    if task == "score":
        return 1 - np.abs(found - wanted)
    both = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (found, wanted)]
    return (both[0] * both[1]).sum(axis=1)


def main() -> int:
    source, precision, folder = pickle.load(sys.stdin.buffer)
    outcome: Any
    try:
        outcome = convert(source, precision, folder)
    except errors.EmbedServeError as error:
        outcome = error
    sys.stdout.buffer.write(pickle.dumps(outcome))
    return _FAILED if isinstance(outcome, errors.EmbedServeError) else 0


if __name__ == "__main__":
    sys.exit(main())
