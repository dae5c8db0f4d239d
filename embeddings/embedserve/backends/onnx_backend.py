"""ONNX Runtime on the CPU: for platforms that OpenVINO does not serve, and for existing .onnx files.

The model is `onnx/model.onnx` or `model.onnx` in the model's folder, as exporters write it, else exported by
us (convert.py): inputs input_ids, attention_mask (and token_type_ids), output last_hidden_state. Execution is
sequential on at most 8 threads.
Pooling is here, in float32. A micro-batch is sorted by length and cut in groups, so that little is padding.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedserve.backends.base import BackendInfo, TokenIds, Vectors
from embedserve.backends.grouping import groups
from embedserve.errors import CheckpointError, InferenceFailed, MissingExtra, OutOfMemory
from embedserve.models.spec import ModelSource

FILES = ("onnx/model.onnx", "model.onnx")
MOST_THREADS = 8
_NO_MEMORY = ("bad_alloc", "failed to allocate memory", "not enough memory")
_GROUP_TOKENS = 256


class OnnxBackend:
    """See base.Backend. One stream."""

    def __init__(self, source: ModelSource, model: Path, *, threads: int, why: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = min(threads, MOST_THREADS)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Arenas keep the largest batch's memory for ever; without, each batch gives its memory back.
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise CheckpointError(f"{model} cannot be loaded by ONNX Runtime: {str(error)[:300]}") from error
        self._inputs = {i.name for i in self._session.get_inputs()}
        outputs = [o.name for o in self._session.get_outputs()]
        if unknown := self._inputs - {"input_ids", "attention_mask", "token_type_ids"}:
            raise CheckpointError(f"{model} wants inputs that an encoder has not: {', '.join(sorted(unknown))}")
        if "last_hidden_state" not in outputs:
            raise CheckpointError(f"{model} has no output last_hidden_state (it has {', '.join(outputs)})")
        self._spec = source.spec
        self.info = BackendInfo(
            "onnx", "fp32", "cpu", source.spec.dimension, 1, options.intra_op_num_threads, why, best_batch_texts=16
        )
        found = self.embed([np.zeros(2, dtype=np.int32)]).shape[1]
        if found != source.spec.dimension:
            raise CheckpointError(f"{model} gives {found} dimensions, {source.spec.id} has {source.spec.dimension}")

    def embed(self, sequences: Sequence[TokenIds]) -> Vectors:
        vectors: Vectors | None = None
        for group in groups([len(s) for s in sequences], _GROUP_TOKENS):
            pooled = self._pooled([sequences[i] for i in group])
            if vectors is None:
                vectors = np.empty((len(sequences), pooled.shape[1]), dtype=np.float32)
            vectors[group] = pooled
        assert vectors is not None
        return vectors

    def _pooled(self, sequences: Sequence[TokenIds]) -> Vectors:
        lengths = np.array([len(s) for s in sequences])
        mask = (np.arange(lengths.max())[None, :] < lengths[:, None]).astype(np.int64)
        ids = np.zeros_like(mask)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        try:
            (hidden,) = self._session.run(["last_hidden_state"], {k: v for k, v in feed.items() if k in self._inputs})
        except MemoryError as error:
            raise OutOfMemory(f"no memory for {len(sequences)} texts") from error
        except Exception as error:  # ONNX Runtime's own classes derive from nothing better
            if any(sign in str(error).lower() for sign in _NO_MEMORY):
                raise OutOfMemory(f"no memory for {len(sequences)} texts") from error
            raise InferenceFailed(f"ONNX Runtime: {str(error)[:200]}") from error
        total = np.einsum("nld,nl->nd", hidden.astype(np.float32, copy=False), mask.astype(np.float32))
        return np.asarray(total / lengths[:, None], dtype=np.float32)

    def activation_bytes(self, count: int, length: int) -> int:
        width = self._spec.dimension
        return count * length * (width * 80 + length * 12 * 4 * 3)

    def release_memory(self) -> None:
        pass  # no arena: nothing is kept

    def close(self) -> None:
        del self._session


def require_onnxruntime() -> None:
    """Raises MissingExtra where it is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingExtra("EMBEDDING_BACKEND=onnx", "onnx")


def model_file(source: ModelSource) -> Path | None:
    """The .onnx file that the model's folder brings, if it does."""
    return next((source.folder / name for name in FILES if (source.folder / name).is_file()), None)
