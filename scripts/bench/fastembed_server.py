"""fastembed (ONNX Runtime), served the plain way, as a peer to be measured against.

    python3.11 -m venv .venv-fastembed && .venv-fastembed/bin/pip install fastembed==0.9.1 fastapi uvicorn
    python scripts/bench/fastembed_server.py --model all-MiniLM-L6-v2|FOLDER --export NEW   # once, in our environment
    embedserve bench --against 'fastembed=.venv-fastembed/bin/python scripts/bench/fastembed_server.py --model NEW'

FastAPI, one model, its own embed() (batches of 32, padded to the longest) in a thread under a lock, in fp32. The ONNX
file that its catalogue would download is exported here from the same weights by torch.onnx.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import threading
from pathlib import Path
from typing import Any

TOKENIZER = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def export(model: str, folder: Path) -> None:
    """The encoder alone (ids, mask -> last hidden state), with the tokenizer's files beside it."""
    import torch
    from naive_server import NaiveEmbedder, folder_of

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = NaiveEmbedder(model).model.eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states = self.model(input_ids=input_ids, attention_mask=attention_mask)
            return states if isinstance(states, torch.Tensor) else states[0]

    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER:
        shutil.copy(folder_of(model) / name, folder)
    ids = torch.ones((2, 12), dtype=torch.long)
    axes = {0: "texts", 1: "tokens"}
    torch.onnx.export(
        Encoder(),
        (ids, ids),
        str(folder / "model.onnx"),
        input_names=["input_ids", "attention_mask"],
        output_names=["last_hidden_state"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "last_hidden_state": axes},
        opset_version=17,
        dynamo=False,
    )


def serve(folder: Path, port: int) -> None:
    import uvicorn
    from fastapi import Body, FastAPI
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    width = json.loads((folder / "config.json").read_text())["hidden_size"]
    TextEmbedding.add_custom_model(
        model="exported",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="exported"),
        dim=width,
        model_file="model.onnx",
    )
    model = TextEmbedding("exported", specific_model_path=str(folder))
    app, lock = FastAPI(), threading.Lock()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": "exported", "object": "model", "precision": "fp32"}]}

    @app.post("/v1/embeddings")
    def embeddings(request: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008 (FastAPI's way)
        texts = [request["input"]] if isinstance(request["input"], str) else request["input"]
        with lock:
            rows = list(model.embed(texts, batch_size=32))
        encoded = [base64.b64encode(row.astype("float32").tobytes()).decode() for row in rows]
        return {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": e} for i, e in enumerate(encoded)],
            "model": "exported",
            "usage": {"prompt_tokens": 0, "total_tokens": 0},
        }

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="with --export: the model; else the exported folder")
    parser.add_argument("--export", type=Path, metavar="FOLDER")
    parser.add_argument("--port", type=int, default=8001)
    args = parser.parse_args()
    if args.export:
        export(args.model, args.export)
    else:
        serve(Path(args.model), args.port)


if __name__ == "__main__":
    main()
