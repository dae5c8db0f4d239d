"""Composition root: Settings -> loaded, warm models behind one admission. The only place where concrete classes meet.

Loading runs in the background while the port already answers (503 with Retry-After), because clients retry that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

import psutil

from embedserve import observability as obs
from embedserve.backends.base import Backend
from embedserve.engine.admission import Admission
from embedserve.engine.cache import DiskCache, EmbeddingCache, MemoryCache, namespace, open_cache
from embedserve.engine.engine import Engine, Tokenizer
from embedserve.engine.memory import MemoryGovernor, collect_and_freeze, usable_memory
from embedserve.errors import ModelNotFound, NotReady, SetupError
from embedserve.models.spec import ModelSource, ModelSpec
from embedserve.settings import Settings

log = logging.getLogger(__name__)


@dataclass
class ServedModel:
    """A model that is loaded and warm. `notice`: what its user should know (a fallback, a skipped guard)."""

    spec: ModelSpec
    engine: Engine
    revision: str
    origin: str
    notice: str = ""


class Runtime:
    """What the API works on. `start()` begins loading; `find()` gives a model or says why not."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.time()
        self.models: list[ServedModel] = []  # the default one first
        self.failure: SetupError | None = None
        self.loading = True
        self.draining = False
        self.admission = Admission(settings.semaphore_value, settings.queue_size, settings.queue_timeout)
        self.governor = MemoryGovernor(
            limit=usable_memory(settings.memory_limit),
            percent=settings.max_memory_percent,
            min_texts=settings.min_batch_size,
            max_texts=settings.max_batch_size,
            adaptive=settings.adaptive_batching,
        )
        self._cache: tuple[MemoryCache, DiskCache | None] | None = None
        self._reasons: dict[str, str] = {}
        self._process = psutil.Process()

    @property
    def rss(self) -> int:
        return int(self._process.memory_info().rss)

    async def load(self) -> None:
        """Load and warm every model; afterwards `loading` is false, and `failure` set if one could not be had."""
        try:
            self._cache = await asyncio.to_thread(
                open_cache,
                self.settings.cache,
                self.settings.home,
                self.settings.cache_memory,
                self.settings.cache_disk,
            )
            for name in self.settings.model_names:
                await self.add(*await asyncio.to_thread(self._load_one, name))
        except SetupError as error:
            self.failure = error
        except Exception as error:  # a bug, or a library's: a server that lives without a model is wedged
            log.exception("loading failed")
            self.failure = SetupError(
                f"the model could not be loaded: {type(error).__name__}: {error}; the log has the details"
            )
        finally:
            self.loading = False
        collect_and_freeze()
        obs.MEMORY_LIMIT.set(self.governor.limit)

    async def add(
        self,
        spec: ModelSpec,
        backend: Backend,
        tokenizer: Tokenizer,
        revision: str,
        origin: str,
        notice: str = "",
    ) -> None:
        """Serve one more model."""
        info = backend.info
        cache = None
        if self._cache is not None:
            artefact = str(info.notes.get("artefact", ""))
            space = namespace(revision, info.name, info.precision, artefact)
            cache = EmbeddingCache(space, info.dimension, *self._cache)
        self.governor.workers = sum(m.engine.backend.info.streams for m in self.models) + info.streams
        engine = Engine(spec.id, backend, tokenizer, spec.max_tokens, self.governor, cache)
        await engine.start()
        self.models.append(ServedModel(spec, engine, revision, origin, notice))
        log.info(
            "serving %s: %s %s on %s, %d dimensions, %d streams (%s)",
            spec.id,
            info.name,
            info.precision,
            info.device,
            info.dimension,
            info.streams,
            info.why,
        )
        if notice:
            log.warning("NOTICE: %s", notice)

    def find(self, name: str | None) -> ServedModel:
        """The model of this id or alias; None means the default one. NotReady, ModelNotFound."""
        if not self.models:
            if self.loading:
                raise NotReady("the model is loading; try again in a second")
            raise NotReady(f"no model is loaded: {self.failure.message if self.failure else 'the server is stopping'}")
        if name is None:
            return self.models[0]
        for model in self.models:
            if name in model.spec.names:
                return model
        if self.loading:
            raise NotReady("further models are loading; try again in a second")
        served = ", ".join(model.spec.id for model in self.models)
        raise ModelNotFound(
            f"model '{name[:200]}' is not served here; served: {served}.{self._why_not(name)}", param="model"
        )

    def _why_not(self, name: str) -> str:
        """Why a known model is not served. Asked for once a name: it may look at the disk."""
        from embedserve.models.catalog import find
        from embedserve.models.sources import why_not_served

        spec = find(name)
        if spec is None:
            return ""
        if spec.id not in self._reasons:
            notice = next((model.notice for model in self.models if model.notice), "")
            self._reasons[spec.id] = " " + why_not_served(spec.id, self.settings.home, notice)
        return self._reasons[spec.id]

    @property
    def problem(self) -> str:
        """Why /ready is red; empty when every model is well."""
        if self.draining:
            return "the server is shutting down"
        if self.loading:
            return "models are loading"
        if self.failure:
            return self.failure.message
        return next((f"{m.spec.id}: {m.engine.problem}" for m in self.models if m.engine.problem), "")

    def health(self) -> dict[str, Any]:
        """The body of GET /health."""
        first = self.models[0] if self.models else None
        problem = self.problem
        return {
            "status": "loading" if self.loading else "degraded" if problem else "ok",
            "problem": problem or None,
            "model_loaded": first is not None,
            "model": first.spec.id if first else None,
            "embedding_dim": first.engine.backend.info.dimension if first else None,
            "backend": first.engine.backend.info.name if first else None,
            "precision": first.engine.backend.info.precision if first else None,
            "device": first.engine.backend.info.device if first else None,
            "notice": (first.notice or None) if first else None,
            "models": [m.spec.id for m in self.models],
            "pid": self._process.pid,
            "uptime_seconds": round(time.time() - self.started, 1),
            "rss_bytes": self.rss,
            "memory_limit_bytes": self.governor.limit,
            "batch_cap": self.governor.cap,
            "requests_active": self.admission.active,
            "requests_waiting": self.admission.waiting,
            "texts_waiting": sum(len(m.engine.backlog) for m in self.models),
        }

    async def close(self) -> None:
        """Stop the engines and write the cache."""
        for model in self.models:
            await model.engine.close()
        if self._cache is not None and self._cache[1] is not None:
            await asyncio.to_thread(self._cache[1].close)

    def _load_one(self, name: str) -> tuple[ModelSpec, Backend, Tokenizer, str, str, str]:
        if self.settings.backend == "fake":
            return _fake(name)
        from embedserve.backends.select import load_backend
        from embedserve.models import sources
        from embedserve.models.tokenizer import load_tokenizer

        notice = ""
        source: ModelSource
        if name == "auto":
            source, notice = sources.resolve_auto(self.settings.home)
        else:
            source = sources.resolve(name, home=self.settings.home)
        backend = load_backend(
            source,
            backend=self.settings.backend,
            precision=self.settings.precision,
            device=self.settings.device,
            threads=self.settings.threads,
            onnx_threads=self.settings.onnx_threads,
            home=self.settings.home,
        )
        if backend.info.notes.get("guard") == "skipped":
            notice = f"{notice} this int8 artefact's quality was never judged (--no-guard)".strip()
        return source.spec, backend, load_tokenizer(source), source.revision, source.origin, notice


def _fake(name: str) -> tuple[ModelSpec, Backend, Tokenizer, str, str, str]:
    from embedserve.backends.fake import FakeBackend, FakeTokenizer

    spec = ModelSpec(
        id="fake" if name == "auto" else name,
        architecture="bert",
        dimension=8,
        max_tokens=512,
        matryoshka=(8, 4),
        prompts={"query": "query: ", "document": ""},
    )
    return spec, FakeBackend(), FakeTokenizer(), "0", "folder", ""
