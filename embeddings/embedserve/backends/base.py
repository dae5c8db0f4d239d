"""The contract between the engine and an inference library.

The engine gives token ids and gets pooled vectors; it knows no tensor library. A backend knows no budgets,
no HTTP and no normalising: the engine checks that rows are finite, cuts and L2-normalises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

TokenIds = npt.NDArray[np.int32]  # one text: shape (length,), special tokens included
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ArtefactInfo:
    """The converted or quantised model that a backend runs, as far as others must know it."""

    digest: str  # of its files and of what made them: another digest, other vectors
    guard: Literal["", "passed", "skipped"] = ""  # what became of an int8 model's quality check; "": not needed
    measured: dict[str, str | float] = field(default_factory=dict)  # what optimize found, for people


@dataclass(frozen=True)
class BackendInfo:
    """What is loaded, as shown at start, in /health and in /v1/models."""

    name: str  # torch, openvino, onnx, fake
    precision: str  # fp32, bf16, fp16, int8
    device: str  # cpu, cuda, cuda:0, mps
    dimension: int
    streams: int  # how many threads may call embed() at the same time
    threads: int  # compute threads in all
    why: str = ""  # why this backend and precision were chosen, one line
    best_batch_tokens: int = 1024  # micro-batches near this many tokens ran fastest (advice; measured)
    best_batch_texts: int = 32  # ... and of at most this many texts
    packed: bool = False  # cost follows the sum of the lengths, not count x longest
    artefact: ArtefactInfo | None = None  # None: it runs the model's own files


class Backend(Protocol):
    """A loaded model. `embed` may be called by `info.streams` threads at once; the rest by one."""

    info: BackendInfo

    def embed(self, sequences: Sequence[TokenIds]) -> Vectors:
        """Masked mean over each sequence's hidden states, in float32, not normalised.

        sequences: n >= 1 arrays of int32 ids (each at least one long). Returns (n, dimension) float32,
        C-contiguous and owned by the caller. Raises embedserve.errors.OutOfMemory when memory was short (the
        engine then splits the batch), anything else for a failed inference.
        """
        ...

    def activation_bytes(self, count: int, length: int) -> int:
        """An upper estimate of the working memory of one batch of `count` texts padded to `length` tokens,
        the quadratic attention term included."""
        ...

    def release_memory(self) -> None:
        """Give unused cached memory back to the system (called when idle or short of memory)."""
        ...

    def close(self) -> None:
        """Free the model. embed() must not be called afterwards."""
        ...


@runtime_checkable
class RunsAlone(Protocol):
    """A backend that has a way of its own for a text that comes while nothing else runs."""

    def embed_alone(self, sequences: Sequence[TokenIds]) -> Vectors:
        """As Backend.embed, on all cores. Right at any time, quick only while no other call runs."""
        ...
