"""Composition root: Settings -> loaded, warm models behind one admission. The only place where concrete classes meet.

Loading runs in the background while the port already answers: requests wait a while for the model, then get 503 with
Retry-After. It runs in a daemon thread, so that a server that is told to stop meanwhile waits for no library.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

import psutil

from embedserve import observability as obs
from embedserve.engine.cache import DiskCache, EmbeddingCache, MemoryCache, open_cache
from embedserve.engine.engine import Engine
from embedserve.engine.memory import MemoryGovernor
from embedserve.errors import ModelNotFound, NotReady, SettingsError, SetupError
from embedserve.machine.memory import collect_and_freeze, usable_memory
from embedserve.models.names import answers_to
from embedserve.models.spec import ModelSpec
from embedserve.serving import loading
from embedserve.serving.admission import Admission
from embedserve.serving.loading import Loaded
from embedserve.settings import Settings

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_HOLD = 10.0  # seconds: the least patient client's validation gives up at 15
_POLL = 0.05
_RERANKERS = "a reranker is a cross-encoder: ms-marco-MiniLM-L6-v2, bge-reranker-base, a hub id, or a model's folder"


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

    """`load`: gets a model of that name; a test gives its own."""

    def __init__(self, settings: Settings, load: Callable[[str, Settings], Loaded] = loading.load) -> None:
        self.settings = settings
        self._load = load
        self.started = time.time()
        self.models: list[ServedModel] = []  # the default one first
        self.failure: SetupError | None = None
        self.loading = True
        self.draining = False
        self.interrupted = False  # told to stop while loading: a library is at work still
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
    def pid(self) -> int:
        return int(self._process.pid)

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
                loaded = await _in_daemon_thread(functools.partial(self._load, name, self.settings))
                if name == self.settings.rerank_model.strip() and loaded.spec.task != "score":
                    loaded.backend.close()
                    raise SettingsError(f"EMBEDDING_RERANK_MODEL: {loaded.spec.id} gives embeddings; {_RERANKERS}")
                await self.add(loaded)
        except asyncio.CancelledError:
            self.interrupted = True
            raise
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

    async def add(self, loaded: Loaded) -> None:
        """Warm the model and serve it."""
        spec, backend, notice = loaded.spec, loaded.backend, loaded.notice
        info = backend.info
        cache = None
        if self._cache is not None:
            cache = EmbeddingCache(loaded.vectors_from.namespace(), info.dimension, *self._cache)
        self.governor.workers = sum(m.engine.backend.info.streams for m in self.models) + info.streams
        engine = Engine(
            spec.id,
            backend,
            loaded.tokenizer,
            spec.max_tokens,
            self.governor,
            cache,
            scores=spec.task == "score",
            pool_prompt=spec.pools_prompt,
            centred=spec.centred,
        )
        await engine.start()
        self.models.append(ServedModel(spec, engine, loaded.revision, loaded.origin, notice))
        self.models.sort(key=lambda model: model.spec.task == "score")  # the first one is the default for embeddings
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

    async def wait_for_a_model(self) -> None:
        """Return when a model serves; NotReady when none does within 10 s, or none will."""
        until = time.monotonic() + _HOLD
        while not self.models and self.loading and not self.draining and time.monotonic() < until:
            await asyncio.sleep(_POLL)
        if not self.models:
            self.find(None)

    def find(self, name: str | None) -> ServedModel:
        """The model of this id or alias; None or "" means the default one. NotReady, ModelNotFound."""
        if not self.models:
            if self.loading and not self.draining:
                raise NotReady("the model is loading; try again in a few seconds")
            raise NotReady(f"no model is loaded: {self.failure.message if self.failure else 'the server is stopping'}")
        if not name:
            return self.models[0]
        for model in self.models:
            if answers_to(model.spec, name):
                return model
        if self.loading:
            raise NotReady("further models are loading; try again in a few seconds")
        served = ", ".join(model.spec.id for model in self.models)
        raise ModelNotFound(
            f"model '{name[:200]}' is not served here; served: {served}.{self._why_not(name)}", param="model"
        )

    @contextlib.asynccontextmanager
    async def use(self, name: str | None) -> AsyncIterator[ServedModel]:
        """The model of this name, in memory for as long as the block lasts. As `find` raises."""
        yield self.find(name)

    def reranker(self, name: str | None) -> ServedModel:
        """As `find`, of the cross-encoders. ModelNotFound that says how to load one where there is none."""
        self.find(None)  # NotReady before anything else
        first = next((model for model in self.models if model.spec.task == "score"), None)
        if first is None and not self.loading:
            raise ModelNotFound(
                "no reranker is loaded: start with EMBEDDING_RERANK_MODEL=NAME (or `serve --rerank-model NAME`); "
                + _RERANKERS,
                param="model",
            )
        if first is None or name:
            return self.find(name or "the reranker")
        return first

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

    async def close(self) -> None:
        """Stop the engines and write the cache."""
        for model in self.models:
            await model.engine.close()
        if self._cache is not None and self._cache[1] is not None:
            await asyncio.to_thread(self._cache[1].close)


async def _in_daemon_thread(work: Callable[[], _T]) -> _T:
    """As asyncio.to_thread, but neither the loop's end nor the interpreter's waits for it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(set_it: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if future.done() else set_it())

    def run() -> None:
        try:
            result = work()
        except Exception as error:
            settle(functools.partial(future.set_exception, error))
        else:
            settle(functools.partial(future.set_result, result))

    threading.Thread(target=run, name="loading", daemon=True).start()
    return await future
