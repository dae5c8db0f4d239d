"""PyTorch: the reference, and the way to CUDA and MPS devices.

Texts of a micro-batch are sorted by length and cut into groups of about equal length, so that little is
padding. On a GPU the groups are larger, inputs and results go through pinned memory, and the only wait is at
the end. Long texts: the encoder itself attends by blocks of queries (models/jina_bert.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch

from embedserve.backends.base import BackendInfo, TokenIds, Vectors
from embedserve.backends.grouping import groups
from embedserve.errors import OutOfMemory
from embedserve.models.loading import load_encoder
from embedserve.models.pooling import mean_pool
from embedserve.models.spec import ModelSource

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
GROUP_TOKENS = {"cpu": 512, "cuda": 16384, "mps": 4096}  # rectangles up to this size are not cut


class TorchBackend:
    """See base.Backend. One stream: PyTorch spreads one product over all threads."""

    def __init__(self, source: ModelSource, *, precision: str, device: str, threads: int, why: str) -> None:
        self._device = torch.device(device)
        self._spec = source.spec
        if self._device.type == "cpu":
            torch.set_num_threads(threads)
        self._encoder = load_encoder(source, DTYPES[precision]).to(self._device)
        self._lock = threading.Lock()
        on_cpu = self._device.type == "cpu"
        self.info = BackendInfo(
            "torch",
            precision,
            device,
            source.spec.dimension,
            streams=1,
            threads=threads,
            why=why,
            best_batch_tokens=1024 if on_cpu else 65536,
            best_batch_texts=32 if on_cpu else 1024,
        )

    def embed(self, sequences: Sequence[TokenIds]) -> Vectors:
        try:
            with self._lock, torch.inference_mode():
                return self._embed(sequences)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise OutOfMemory(f"no memory for {len(sequences)} texts") from error
        except RuntimeError as error:
            if "not enough memory" in str(error) or "out of memory" in str(error):
                raise OutOfMemory(f"no memory for {len(sequences)} texts") from error
            raise

    def _embed(self, sequences: Sequence[TokenIds]) -> Vectors:
        pinned = self._device.type == "cuda"
        result = torch.empty(len(sequences), self.info.dimension, dtype=torch.float32, pin_memory=pinned)
        order: list[int] = []
        pooled: list[torch.Tensor] = []
        for group in groups([len(s) for s in sequences], GROUP_TOKENS[self._device.type]):
            ids, mask = _rectangle([sequences[i] for i in group], pinned)
            mask = mask.to(self._device, non_blocking=True)
            hidden = self._encoder(ids.to(self._device, non_blocking=True), mask)
            pooled.append(mean_pool(hidden, mask))
            order += group
        result.copy_(torch.cat(pooled), non_blocking=pinned)
        if pinned:
            torch.cuda.current_stream(self._device).synchronize()
        vectors = np.empty((len(sequences), self.info.dimension), dtype=np.float32)
        vectors[order] = result.numpy()
        return vectors

    def activation_bytes(self, count: int, length: int) -> int:
        size = DTYPES[self.info.precision].itemsize
        attention = min(count * length * length * 16 * 4, 256 * 1024 * 1024)
        return count * length * self._spec.dimension * 16 * size + attention

    def release_memory(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()

    def close(self) -> None:
        with self._lock:
            del self._encoder
        self.release_memory()


def _rectangle(sequences: Sequence[TokenIds], pinned: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """ids and mask [n, L] int64, padded with 0 (the mask hides it)."""
    width = max(len(s) for s in sequences)
    ids = torch.zeros(len(sequences), width, dtype=torch.int64, pin_memory=pinned)
    mask = torch.zeros(len(sequences), width, dtype=torch.int64, pin_memory=pinned)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.from_numpy(np.asarray(sequence, dtype=np.int64))
        mask[row, : len(sequence)] = 1
    return ids, mask
