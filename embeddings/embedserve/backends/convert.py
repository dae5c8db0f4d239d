"""From a checkpoint to an OpenVINO or ONNX model, in a process of its own.

Converting needs torch (and transformers for BERT), hundreds of megabytes that would stay in a server's memory
for ever. So `artefact()` starts `python -m embedserve.backends.convert`, which loads the checkpoint strictly,
wraps it (export.py), converts, saves and exits. An error there is the same error here.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from embedserve import errors
from embedserve.backends import artefacts
from embedserve.models.spec import ModelSource, ModelSpec

_FAILED = 3  # exit code: a JSON error is on stdout


def artefact(source: ModelSource, precision: str, home: Path) -> artefacts.Artefact:
    """The fp32, bf16 or onnx artefact; made now if it is missing, stale or torn (seconds)."""
    return artefacts.find(source, precision, home) or artefacts.build(
        source, precision, home, lambda folder: _convert_in_child(source, precision, folder)
    )


def _convert_in_child(source: ModelSource, precision: str, folder: Path) -> dict[str, Any]:
    order = {
        "source": dataclasses.asdict(dataclasses.replace(source, folder=str(source.folder))),  # type: ignore[arg-type]
        "precision": precision,
        "folder": str(folder),
    }
    child = subprocess.run(
        [sys.executable, "-m", "embedserve.backends.convert"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CI": "true"},  # OpenVINO's converter then reports nothing to its makers
    )
    if child.returncode == _FAILED:
        report = json.loads(child.stdout.splitlines()[-1])
        raise getattr(errors, report["type"])(report["message"])
    if child.returncode != 0:
        last = "\n".join(child.stderr.strip().splitlines()[-5:])
        raise errors.ArtefactError(
            f"converting {source.spec.id} ({precision}) failed (exit code {child.returncode}; EMBEDDING_BACKEND=torch "
            f"works without a conversion): {last}"
        )
    return {}


def convert(source: ModelSource, precision: str, folder: Path) -> None:
    """Write the artefact's files. OpenVINO's weights are kept in float32 for fp32, else in float16: half the file and
    half the memory, and nothing lost that bf16 could hold."""
    import torch

    from embedserve.models.loading import load_encoder

    encoder = load_encoder(source, torch.float32)
    target = folder / artefacts.files(precision)[0]
    with torch.no_grad():
        if precision == artefacts.ONNX:
            _to_onnx(encoder, target)
        else:
            _to_openvino(encoder, target, half=precision != "fp32")


def _to_openvino(encoder: Any, target: Path, half: bool) -> None:
    import openvino
    import torch

    from embedserve.backends.export import packed

    example = {
        "ids": torch.ones(16, dtype=torch.int32),
        "positions": torch.arange(16, dtype=torch.int32),
        "rows": torch.arange(16, dtype=torch.int32).view(2, 8),
        "back": torch.arange(16, dtype=torch.int32),
        "mask": torch.ones(2, 8),
    }
    shapes = [(name, [-1] * tensor.dim()) for name, tensor in example.items()]
    traced = torch.jit.trace(packed(encoder), example_kwarg_inputs=example, check_trace=False)
    model = openvino.convert_model(traced, example_input=example, input=shapes)
    openvino.save_model(model, target, compress_to_fp16=half)


def _to_onnx(encoder: Any, target: Path) -> None:
    """The padded form: input_ids and attention_mask (n, L) -> last_hidden_state (n, L, d)."""
    import torch

    names = ["input_ids", "attention_mask"]
    torch.onnx.export(
        encoder,
        (torch.ones(2, 8, dtype=torch.int64), torch.ones(2, 8, dtype=torch.int64)),
        str(target),
        dynamo=False,
        opset_version=17,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in [*names, "last_hidden_state"]},
    )


def _source(fields: dict[str, Any]) -> ModelSource:
    spec: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.pop("spec").items()}
    return ModelSource(**{**fields, "spec": ModelSpec(**spec), "folder": Path(fields["folder"])})


def main() -> int:
    order = json.load(sys.stdin)
    source = _source(order["source"])
    try:
        convert(source, order["precision"], Path(order["folder"]))
    except errors.EmbedServeError as error:
        print(json.dumps({"type": type(error).__name__, "message": error.message}))
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
