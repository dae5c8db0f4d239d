"""ONNX Runtime on the CPU: for platforms that OpenVINO does not serve, and for whoever wants it.

The model is an artefact that convert.py wrote: packed, pooled inside. Execution is sequential on at most 8 threads.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np

from embedserve.backends.artefacts import Artefact
from embedserve.backends.base import BackendInfo, TokenIds, Vectors
from embedserve.backends.packing import pack
from embedserve.errors import CheckpointError, InferenceFailed, MissingExtra, OutOfMemory
from embedserve.models.spec import ModelSpec

MOST_THREADS = 8
_NO_MEMORY = ("bad_alloc", "failed to allocate memory", "not enough memory")


class OnnxBackend:
    """See base.Backend. One stream."""

    def __init__(self, artefact: Artefact, spec: ModelSpec, *, threads: int, why: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = min(threads, MOST_THREADS)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Arenas keep the largest batch's memory for ever; without, each batch gives its memory back.
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(
                str(artefact.model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise CheckpointError(f"{artefact.model} cannot be loaded by ONNX Runtime: {str(error)[:300]}") from error
        self._inputs = [i.name for i in self._session.get_inputs()]
        self._width = spec.encoder.width if spec.encoder else spec.dimension
        self.info = BackendInfo(
            "onnx",
            "fp32",
            "cpu",
            spec.dimension,
            1,
            options.intra_op_num_threads,
            why,
            best_batch_texts=16,
            packed=True,
            artefact=artefact.info,
        )
        self.embed([np.zeros(2, dtype=np.int32)])  # a wrong file fails here

    def embed(self, sequences: Sequence[TokenIds]) -> Vectors:
        feed = pack(sequences, rounded=False)
        try:
            (rows,) = self._session.run(["vectors"], {name: feed[name] for name in self._inputs})
        except MemoryError as error:
            raise OutOfMemory(f"no memory for {len(sequences)} texts") from error
        except Exception as error:  # ONNX Runtime's own classes derive from nothing better
            if any(sign in str(error).lower() for sign in _NO_MEMORY):
                raise OutOfMemory(f"no memory for {len(sequences)} texts") from error
            raise InferenceFailed(f"ONNX Runtime: {str(error)[:200]}") from error
        return np.array(rows, dtype=np.float32)

    def activation_bytes(self, count: int, length: int) -> int:
        return count * length * (self._width * 80 + length * 12 * 4 * 3)

    def release_memory(self) -> None:
        pass  # no arena: nothing is kept

    def close(self) -> None:
        del self._session


def require_onnxruntime() -> None:
    """Raises MissingExtra where it is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingExtra("EMBEDDING_BACKEND=onnx", "onnx")
