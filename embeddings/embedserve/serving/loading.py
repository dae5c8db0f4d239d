"""Loads one model: where its files are, which backend runs it, its tokenizer. Blocking; call it in a thread.

Knows nothing of other models, of memory in use and of requests.
"""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass, replace

from embedserve.backends.base import Backend
from embedserve.engine.cache import VectorOrigin
from embedserve.engine.encoder import Tokenizer
from embedserve.machine import cpu
from embedserve.machine.memory import usable_memory
from embedserve.models import prompts
from embedserve.models.spec import ModelSource, ModelSpec
from embedserve.settings import Settings

_WIDE_AT_MOST = 256 * 1024 * 1024
_DISTRIBUTIONS = {"torch": "torch", "openvino": "openvino", "onnx": "onnxruntime"}


@dataclass(frozen=True)
class Loaded:
    """A model in memory, not yet warm. `notice`: what its user should know (a fallback, a skipped guard)."""

    spec: ModelSpec
    backend: Backend
    tokenizer: Tokenizer
    revision: str
    origin: str
    notice: str = ""

    @property
    def vectors_from(self) -> VectorOrigin:
        """All that its vectors depend on beside a text's ids."""
        info = self.backend.info
        library = _DISTRIBUTIONS.get(info.name)
        return VectorOrigin(
            model=self.spec.id,
            revision=self.revision,
            backend=f"{info.name} {importlib.metadata.version(library)}" if library else info.name,
            precision=info.precision,
            artefact=info.artefact.digest if info.artefact else "",
            hardware=f"{info.device} {cpu.features().kind}",
        )


@dataclass(frozen=True)
class Found:
    """What is known of a model before it is loaded; its files are on disk. bytes_needed: an upper estimate."""

    spec: ModelSpec
    revision: str
    origin: str
    notice: str
    bytes_needed: int


def find(name: str, settings: Settings) -> Found:
    """The model of this name, downloaded if need be and not loaded. Raises SetupError when it cannot be had."""
    if settings.backend == "fake":
        fake = _fake(name, settings)
        return Found(fake.spec, fake.revision, fake.origin, "", 0)
    from embedserve.models import weights

    source, notice = _source(name, settings)
    notice = f"{notice} {source.spec.notice}".strip()
    needed = weights.parameters(source.folder) * _bytes_a_parameter(source.spec, settings)
    return Found(source.spec, source.revision, source.origin, notice, needed)


def _bytes_a_parameter(spec: ModelSpec, settings: Settings) -> int:
    """What a loaded model was seen to take, rounded up (MiniLM and random weights of jina's size, in OpenVINO: the
    mapped file and the repacked weights)."""
    from embedserve.backends.openvino_backend import computes_bf16

    half = settings.precision in ("bf16", "fp16") or (
        settings.precision == "auto" and computes_bf16() and "bf16" in spec.dtypes
    )
    return 6 if half or settings.precision == "int8" else 10


def _source(name: str, settings: Settings) -> tuple[ModelSource, str]:
    """The model's files, and a notice where `auto` is not what one would expect."""
    from embedserve.models import sources

    source, notice = (
        sources.resolve_auto(settings.home) if name == "auto" else (sources.resolve(name, home=settings.home), "")
    )
    return replace(source, spec=prompts.with_default(source.spec, settings.default_prompt)), notice


def load(name: str, settings: Settings) -> Loaded:
    """The model of this id, alias, folder or hub id, or `auto`. Raises SetupError when it cannot be had."""
    if settings.backend == "fake":
        return _fake(name, settings)
    from embedserve.backends.select import load_backend
    from embedserve.models.tokenizer import load_tokenizer

    source, notice = _source(name, settings)
    backend = load_backend(
        source,
        backend=settings.backend,
        precision=settings.precision,
        device=settings.device,
        threads=settings.threads,
        onnx_threads=settings.onnx_threads,
        wide_bytes=_wide_bytes(settings),
        home=settings.home,
    )
    if backend.info.artefact and backend.info.artefact.guard == "skipped":
        notice = f"{notice} this int8 artefact's quality was never judged (--no-guard)".strip()
    notice = f"{notice} {source.spec.notice}".strip()  # how its files were understood
    return Loaded(source.spec, backend, load_tokenizer(source), source.revision, source.origin, notice)


def _wide_bytes(settings: Settings) -> int:
    """What a second copy of a model's weights may take."""
    if settings.wide == "auto":
        return min(_WIDE_AT_MOST, usable_memory(settings.memory_limit) // 16)
    return 0 if settings.wide == "off" else sys.maxsize


def _fake(name: str, settings: Settings) -> Loaded:
    from embedserve.backends.fake import FakeBackend, FakeTokenizer

    spec = ModelSpec(
        id="fake" if name == "auto" else name,
        architecture="bert",
        dimension=8,
        max_tokens=512,
        matryoshka=(8, 4),
        prompts={"query": "query: ", "document": ""},
    )
    spec = prompts.with_default(spec, settings.default_prompt)
    return Loaded(spec, FakeBackend(), FakeTokenizer(), "0", "folder")
