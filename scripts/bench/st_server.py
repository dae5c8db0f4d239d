"""The best of the others: sentence-transformers with its OpenVINO backend, served the plain way.

    python scripts/bench/st_server.py --model all-MiniLM-L6-v2|FOLDER --precision bf16|int8|fp32 --port N

FastAPI, one model, its own encode() (sorts a request's texts by length, batches of 32) in a thread under a lock.
As good as its documentation makes it:

- bf16, fp32: the OpenVINO export of optimum-intel, with OpenVINO's inference-precision hint.
- A folder in which st_convert.py has written the graph: that one, for architectures that optimum-intel 2.0 does not
  export, or not rightly.
- --torch (fp32, bf16): the library without OpenVINO.
- int8: its `export_static_quantized_openvino_model` (NNCF static quantisation, 300 samples), calibrated on
  code of the standard library, because its default data set is on a hub; with the bf16 hint where the CPU has it.

A jina folder needs `trust_remote_code`. Instead, our native module is converted by openvino.convert_model
and put where sentence-transformers looks for an exported model, so it runs the same graph as ours. Exports are kept
in --work, by the model's content.

It needs an environment of its own (st-requirements.txt), since optimum-intel pins an older transformers:
`embedserve bench --against st --st-python .venv-st/bin/python`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from naive_server import EmbeddingRequest, folder_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "embeddings"))  # not installed in that environment

import embedserve  # noqa: F401  # keeps OpenVINO and NNCF from reporting their use
from embedserve.machine import cpu

# what int8 leaves is computed in bf16 where the CPU has it: emulated, a seventh of the speed was left
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "bf16" if cpu.features().bf16 else "f32"}
INT8_FILE = "openvino_model_qint8_quantized.xml"
CALIBRATION_TEXTS = 300


def prepare(folder: Path, precision: str, work: Path) -> Path:
    """A copy of the model's folder with the OpenVINO files of this precision in it."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    digest.update((folder / "model.safetensors").read_bytes())
    converted = folder / "openvino" / "openvino_model.xml"  # by st_convert.py
    digest.update(converted.read_bytes() if converted.exists() else b"")
    copy = work / digest.hexdigest()[:16]
    if not copy.exists():
        partial = Path(tempfile.mkdtemp(dir=work, prefix="partial-"))
        shutil.copytree(folder, partial, dirs_exist_ok=True)
        is_jina = json.loads((folder / "config.json").read_text()).get("position_embedding_type") == "alibi"
        if converted.exists():
            _hide_architecture(partial)
        else:
            (_convert_jina if is_jina else _export)(partial)
        partial.rename(copy)
    if precision == "int8" and not (copy / "openvino" / INT8_FILE).exists():
        _quantize(copy, work)
    return copy


def _hide_architecture(folder: Path) -> None:
    """The graph says what is computed. This environment's transformers may not know the architecture: a plain BERT of
    the same width, whose config is all that is read."""
    config = json.loads((folder / "config.json").read_text())
    width = config.get("hidden_size") or config["n_embd"]
    plain = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": width}
    (folder / "config.json").write_text(json.dumps({**plain, "vocab_size": config["vocab_size"]}))


def _export(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(folder), backend="openvino", model_kwargs={"export": True}).save_pretrained(str(folder))


def _convert_jina(folder: Path) -> None:
    import openvino
    import torch
    from jina_torch import JinaBert, JinaBertConfig
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    model = JinaBert(JinaBertConfig.from_dict(config))
    model.load_state_dict(
        {k.removeprefix("bert."): v.float() for k, v in load_file(folder / "model.safetensors").items()}, strict=True
    )
    ids = torch.ones((2, 12), dtype=torch.long)
    converted = openvino.convert_model(
        model.eval(),
        example_input={"input_ids": ids, "attention_mask": ids},
        input=[("input_ids", [-1, -1], openvino.Type.i64), ("attention_mask", [-1, -1], openvino.Type.i64)],
    )
    converted.outputs[0].get_tensor().set_names({"last_hidden_state"})
    (folder / "openvino").mkdir()
    openvino.save_model(converted, folder / "openvino" / "openvino_model.xml", compress_to_fp16=False)
    config.pop("auto_map", None)  # never followed; without it the folder reads as a plain BERT's
    (folder / "config.json").write_text(json.dumps(config))


def _quantize(folder: Path, work: Path) -> None:
    """sentence-transformers' own static quantisation, with code as its calibration set."""
    from optimum.intel import OVQuantizationConfig
    from sentence_transformers import SentenceTransformer, export_static_quantized_openvino_model

    from embedserve.bench.texts import code_texts

    with tempfile.TemporaryDirectory(dir=work) as data:
        lines = "".join(json.dumps({"text": text}) + "\n" for text in code_texts(CALIBRATION_TEXTS, seed=7))
        Path(data, "train.jsonl").write_text(lines)
        export_static_quantized_openvino_model(
            SentenceTransformer(str(folder), backend="openvino", model_kwargs={"export": False}),
            OVQuantizationConfig(num_samples=CALIBRATION_TEXTS),
            str(folder),
            dataset_name=data,
            dataset_config_name="default",
            dataset_split="train",
            column_name="text",
        )


def load(folder: Path, precision: str) -> Any:
    from sentence_transformers import SentenceTransformer

    kwargs = {
        "file_name": INT8_FILE if precision == "int8" else "openvino_model.xml",
        "ov_config": {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"},
        "export": False,
    }
    return SentenceTransformer(str(folder), backend="openvino", model_kwargs=kwargs)


def load_torch(folder: Path, precision: str) -> Any:
    """Where optimum-intel cannot export the architecture: the library's own default, in the same precision."""
    import torch
    from sentence_transformers import SentenceTransformer

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": dtype})


def create_app(model: Any, name: str, precision: str) -> FastAPI:
    app = FastAPI()
    lock = threading.Lock()
    seen: list[int] = []  # real tokens of each batch, for `usage`: cheaper than tokenising twice
    model[0].register_forward_pre_hook(lambda _, inputs: seen.append(int(inputs[0]["attention_mask"].sum())))

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model", "precision": precision}]}

    @app.post("/v1/embeddings")
    def embeddings(request: EmbeddingRequest) -> dict[str, Any]:  # in FastAPI's thread pool
        texts = [request.input] if isinstance(request.input, str) else request.input
        with lock:
            seen.clear()
            vectors = model.encode(texts, batch_size=32, normalize_embeddings=True).astype("float32")  # bf16: as float
            tokens = sum(seen)
        if request.encoding_format == "base64":
            encoded: list[Any] = [base64.b64encode(row.tobytes()).decode() for row in vectors]
        else:
            encoded = vectors.tolist()
        return {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": e} for i, e in enumerate(encoded)],
            "model": name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", choices=list(HINTS), default="bf16")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "embedserve-st-server")
    parser.add_argument("--torch", action="store_true", help="its PyTorch backend: where there is no export")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    folder = folder_of(args.model)
    if args.torch:
        model = load_torch(folder, args.precision)
    else:
        model = load(prepare(folder, args.precision, args.work), args.precision)
    uvicorn.run(create_app(model, args.model, args.precision), host="127.0.0.1", port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
