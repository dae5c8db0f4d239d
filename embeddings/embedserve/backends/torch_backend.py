"""PyTorch: the way to CUDA and MPS devices, and a second opinion on a CPU.

Texts of a micro-batch are sorted by length and cut into groups of about equal length, so that attention's rectangles
hold little padding; everything else runs packed. On a GPU the groups are larger, inputs and results go through pinned
memory, and the only wait is at the end.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch

from embedserve.backends.base import BackendInfo, TokenIds, Vectors
from embedserve.backends.grouping import groups
from embedserve.backends.packing import pack
from embedserve.backends.torch_ops import MASK_BYTES, Store, TorchOps
from embedserve.errors import OutOfMemory
from embedserve.models import graph
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
        self._store = Store(graph.load_parameters(source), DTYPES[precision], self._device)
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
        rows: list[torch.Tensor] = []
        for group in groups([len(s) for s in sequences], GROUP_TOKENS[self._device.type]):
            ops = TorchOps(self._store, self._feed([sequences[i] for i in group], pinned))
            rows.append(graph.vectors(ops, self._spec).float())
            order += group
        result.copy_(torch.cat(rows), non_blocking=pinned)
        if pinned:
            torch.cuda.current_stream(self._device).synchronize()
        vectors = np.empty((len(sequences), self.info.dimension), dtype=np.float32)
        vectors[order] = result.numpy()
        return vectors

    def _feed(self, sequences: Sequence[TokenIds], pinned: bool) -> dict[str, torch.Tensor]:
        """The packed inputs on the device; indices as int64."""
        feed = {}
        for name, values in pack(sequences, rounded=False).items():
            tensor = torch.from_numpy(np.ascontiguousarray(values))
            tensor = tensor if tensor.is_floating_point() else tensor.long()
            feed[name] = (tensor.pin_memory() if pinned else tensor).to(self._device, non_blocking=pinned)
        return feed

    def activation_bytes(self, count: int, length: int) -> int:
        size = DTYPES[self.info.precision].itemsize
        attention = min(count * length * length * 16 * 4, 2 * MASK_BYTES[self._device.type])
        return count * length * graph.encoder_of(self._spec).width * 16 * size + attention

    def release_memory(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()

    def close(self) -> None:
        with self._lock:
            del self._store
        self.release_memory()
