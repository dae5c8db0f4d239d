"""OpenVINO on the CPU: packed micro-batches, one single-threaded stream per core.

The model is an artefact (convert.py or commands/optimize.py made it), so neither torch nor transformers is
imported. Each calling thread has its own infer request; NUM_STREAMS of them run at once, and each stream keeps
its products in its own core's cache, which beats sharing one product among the cores.

Shapes are rounded (packing.py) because the CPU plugin compiles kernels for each new one and keeps the last
KERNELS of them.
"""

from __future__ import annotations

import contextlib
import platform
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from embedserve.backends.artefacts import Artefact
from embedserve.backends.base import BackendInfo, TokenIds, Vectors
from embedserve.backends.biases import Biases
from embedserve.backends.openvino_buffers import LARGE, Buffers
from embedserve.backends.openvino_wide import WideModel
from embedserve.backends.packing import ALONE_STEP, pack
from embedserve.errors import InferenceFailed, OutOfMemory, SettingsError
from embedserve.machine import cpu
from embedserve.machine.memory import drop_mapped
from embedserve.models.encoder import biases
from embedserve.models.spec import ModelSpec

KERNELS = 128  # compiled kernels that are kept; the default, 5,000, is hundreds of megabytes under mixed lengths
MOST_STREAMS = 4  # more cores than this share a stream where they can: every stream has its own working memory
# Tokens of a batch. The plugin packs its weights at the first inference. In float32 it packs a part of them once more
# at the first of certain sizes, such as 60, 64, 100 and 200. The copy for one text alone does so later.
_SHORT, _LONG = 8, 64
_ALONE_FP32 = 2  # see packing.ALONE_STEP: in float32 a token costs twice as much, and a size takes little memory
_NO_MEMORY = ("bad_alloc", "bad allocation", "not enough memory", "cannot allocate memory", "out of memory")


def streams_for(threads: int) -> int:
    """How many streams share `threads` without a rest: OpenVINO gives each threads // streams, and the rest idles."""
    if threads <= MOST_STREAMS or threads in (11, 13):  # of these primes one stream would be all that is left
        return threads
    return next((n for n in (4, 3, 5, 2, 7) if threads % n == 0), 1)


def computes_bf16() -> bool:
    """Whether OpenVINO computes in bf16 here. Its CPU device's page: on x86-64 only, whatever an ARM CPU has."""
    return cpu.features().bf16 and platform.machine().lower() in ("x86_64", "amd64")


class OpenVinoBackend:
    """See base.Backend and base.RunsAlone. wide: keep a second copy of the model, which runs one text on all cores.
    streams: how many share the threads; 0: as streams_for says."""

    def __init__(
        self, artefact: Artefact, spec: ModelSpec, *, threads: int, why: str, wide: bool = False, streams: int = 0
    ) -> None:
        import openvino

        streams = streams or streams_for(threads)
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if computes_bf16() and artefact.precision != "fp32" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
            "CPU_RUNTIME_CACHE_CAPACITY": KERNELS,
        }
        core = openvino.Core()

        def compiled(streams: int) -> Any:
            return core.compile_model(artefact.model, "CPU", options | {"NUM_STREAMS": streams})

        self._model = compiled(streams)
        computed = self._model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if computed != options["INFERENCE_PRECISION_HINT"]:  # a hint: the library drops it without a word
            raise SettingsError(
                f"OpenVINO computes {computed} on this machine instead of {options['INFERENCE_PRECISION_HINT']}: set "
                "EMBEDDING_PRECISION=fp32"
            )
        self._wide = WideModel(lambda: self._used(compiled(1))) if wide and streams > 1 else None
        self._weights = artefact.model.with_suffix(".bin")
        self._inputs = [i.get_any_name() for i in self._model.inputs]
        self._biases = Biases([] if spec.encoder is None else biases(spec.encoder))
        self._width = max(spec.dimension, spec.encoder.width if spec.encoder else 0)
        self._requests = threading.local()
        self._spare: list[Any] = []
        self._tensor = openvino.Tensor
        self._alone = _ALONE_FP32 if artefact.precision == "fp32" else ALONE_STEP
        self._buffers = Buffers(self._free)
        self.info = BackendInfo(
            "openvino",
            artefact.precision,
            "cpu",
            spec.dimension,
            streams,
            threads,
            why,
            packed=True,
            artefact=artefact.info,
        )
        for tokens in (_SHORT, _LONG) if artefact.precision == "fp32" else (_SHORT,):
            self.embed([np.zeros(min(tokens, spec.max_tokens), dtype=np.int32)])  # a wrong file fails here
            drop_mapped(self._weights)  # the weights were packed for the plugin's kernels
        # Made now: a request that is made while a stream computes can wait until that is done, 17 s for a long text.
        self._spare = [self._model.create_infer_request() for _ in range(streams)]

    def embed(self, sequences: Sequence[TokenIds]) -> Vectors:
        return self._infer(self._model, "request", sequences)

    def embed_alone(self, sequences: Sequence[TokenIds]) -> Vectors:
        wide = self._wide.get() if self._wide is not None else None
        return self.embed(sequences) if wide is None else self._infer(wide, "wide_request", sequences)

    def _used(self, model: Any) -> Any:
        """The compiled model after an inference, which packs its weights."""
        self._run(model.create_infer_request(), [np.zeros(_SHORT, dtype=np.int32)])
        drop_mapped(self._weights)
        return model

    def _run(self, request: Any, sequences: Sequence[TokenIds], *, large: bool = False) -> Vectors:
        feed = pack(sequences, alone=self._alone, biases=self._biases, keep=large)
        # infer() would keep the arrays that it is given until the next text, and a bias may have 0.3 GB. The request
        # knows their address alone, and asks for nothing there before the next ones are set.
        for name in self._inputs:
            request.set_tensor(name, self._tensor(feed[name], shared_memory=True))
        results = request.infer(share_outputs=True)
        return np.array(results[0], dtype=np.float32, order="C")

    def _infer(self, model: Any, name: str, sequences: Sequence[TokenIds]) -> Vectors:
        need = self.activation_bytes(len(sequences), max(map(len, sequences)))
        with self._buffers.in_use(need):
            request = getattr(self._requests, name, None)  # one a thread and model
            if request is None:
                request = self._new_request(model)
                setattr(self._requests, name, request)
            try:
                return self._run(request, sequences, large=need > LARGE)
            except MemoryError as error:
                raise OutOfMemory(f"no memory for {len(sequences)} texts") from error
            except RuntimeError as error:
                if any(sign in str(error).lower() for sign in _NO_MEMORY):
                    raise OutOfMemory(f"no memory for {len(sequences)} texts") from error
                raise InferenceFailed(f"OpenVINO: {str(error).strip().splitlines()[-1]}") from error

    def _new_request(self, model: Any) -> Any:
        if model is self._model:
            with contextlib.suppress(IndexError):
                return self._spare.pop()
        return model.create_infer_request()

    def activation_bytes(self, count: int, length: int) -> int:
        return count * length * (self._width * 60 + length * 4)

    def release_memory(self) -> None:
        """Frees the buffers between layers (they come back when needed), if nothing runs."""
        self._buffers.release()

    def _free(self) -> None:
        self._biases.forget()
        self._model.release_memory()
        if self._wide is not None:
            self._wide.release_memory()
        drop_mapped(self._weights)  # batches of other shapes have read the file again

    def close(self) -> None:
        self._requests = threading.local()
        self._spare = []
        if self._wide is not None:
            self._wide.close()
        del self._model
