"""Composition root: Settings -> models behind one admission. The only place where concrete classes meet.

Loading runs in the background while the port already answers: requests wait a while for the model, then get 503 with
Retry-After. It runs in a daemon thread, so that a server that is told to stop meanwhile waits for no library.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psutil

from embedserve import observability as obs
from embedserve.engine.cache import DiskCache, EmbeddingCache, MemoryCache, open_cache
from embedserve.engine.engine import Engine
from embedserve.engine.memory import MemoryGovernor
from embedserve.errors import ModelNotFound, NotReady, SettingsError, SetupError
from embedserve.machine.memory import collect_and_freeze, freeze_new, usable_memory
from embedserve.models import prompts
from embedserve.models.catalog import find
from embedserve.models.names import answers_to
from embedserve.serving import loading
from embedserve.serving.admission import Admission
from embedserve.serving.entry import ModelEntry, ServedModel
from embedserve.serving.loading import Found, Loaded
from embedserve.serving.residents import HOLD, Residents, in_daemon_thread
from embedserve.settings import Settings

log = logging.getLogger(__name__)

_POLL = 0.05
_RERANKERS = "a reranker is a cross-encoder: ms-marco-MiniLM-L6-v2, bge-reranker-base, a hub id, or a model's folder"


class Runtime:
    """What the API works on. `start()` begins loading; `use()` gives a model or says why not.

    load, find: get a model of that name, and what is known of it without loading it; a test gives its own.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[str, Settings], Loaded] = loading.load,
        find: Callable[[str, Settings], Found] = loading.find,
    ) -> None:
        self.settings = settings
        self._find = find
        self.started = time.time()
        self._since = time.monotonic()  # a clock that is set makes no uptime
        self.failure: SetupError | None = None
        self.loading = True  # until the default model is in memory and the files of the others are there
        self.draining = False
        self.interrupted = False  # told to stop while loading: a library is at work still
        self.admission = Admission(settings.semaphore_value, settings.queue_size, settings.queue_timeout)
        self.governor = MemoryGovernor(
            limit=usable_memory(settings.memory_limit),
            percent=settings.max_memory_percent,
            min_texts=settings.min_batch_size,
            max_texts=settings.max_batch_size,
            adaptive=settings.adaptive_batching,
            explicit=settings.batch_size_is_given,
        )
        self._cache: tuple[MemoryCache, DiskCache | None] | None = None
        self._reasons: dict[str, str] = {}  # catalog id -> why it is not served: the disk is not asked for a request
        self._process = psutil.Process()
        self.residents = Residents(
            load=lambda name: load(name, settings),
            warm=self._warm,
            governor=self.governor,
            admission=self.admission,
            keep_alive=settings.keep_alive,
            rss=lambda: self.rss,
        )
        self.residents.entries = [ModelEntry(name) for name in settings.model_names]

    @property
    def entries(self) -> list[ModelEntry]:
        """Every configured model of which something is known, in memory or not. The first is the default one for
        embeddings; rerankers come last."""
        known = [entry for entry in self.residents.entries if entry.spec is not None]
        return sorted(known, key=lambda entry: entry.model.task == "score")

    @property
    def models(self) -> list[ServedModel]:
        """The models that are in memory now."""
        return self.residents.loaded

    @property
    def uptime(self) -> float:
        """Seconds."""
        return time.monotonic() - self._since

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def rss(self) -> int:
        return int(self._process.memory_info().rss)

    async def load(self) -> None:
        """Load and warm the default model and find the others; afterwards `loading` is false, and `failure` set if one
        could not be had."""
        try:
            self._cache = await asyncio.to_thread(
                open_cache,
                self.settings.cache,
                self.settings.home,
                self.settings.cache_memory,
                self.settings.cache_disk,
            )
            if not self.residents.entries:
                raise SetupError("EMBEDDING_MODEL names no model")
            first, *others = self.residents.entries
            await self.residents.load(first)
            for entry in others:
                await self._meet(entry)
            prompts.refuse_strangers([entry.model for entry in self.entries], self.settings.default_prompt)
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
        if self.settings.backend != "fake" and self.entries:
            self._reasons = await asyncio.to_thread(self._find_reasons)
            freeze_new()

    async def _meet(self, entry: ModelEntry) -> None:
        """Find the files of a model that is not the default one. A name that leads nowhere ends the start."""
        found = await in_daemon_thread(functools.partial(self._find, entry.name, self.settings))
        if entry.name == self.settings.rerank_model.strip() and found.spec.task != "score":
            raise SettingsError(f"EMBEDDING_RERANK_MODEL: {found.spec.id} gives embeddings; {_RERANKERS}")
        if twice := next((one for one in self.entries if one.spec and one.spec.id == found.spec.id), None):
            raise SetupError(f"EMBEDDING_MODEL names {found.spec.id} twice: '{twice.name}' and '{entry.name}'")
        entry.spec, entry.bytes_needed = found.spec, found.bytes_needed
        entry.revision, entry.origin, entry.notice = found.revision, found.origin, found.notice
        if self.settings.preload:
            await self.residents.preload(entry)
        else:
            log.info("%s is on disk: its first request loads it", found.spec.id)

    async def _warm(self, loaded: Loaded) -> ServedModel:
        """Start the model's engine and warm it."""
        spec, backend = loaded.spec, loaded.backend
        info = backend.info
        cache = None
        if self._cache is not None:
            cache = EmbeddingCache(loaded.vectors_from.namespace(), info.dimension, *self._cache)
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
        try:
            await engine.start()
        except BaseException:
            await engine.close()
            raise
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
        if loaded.notice:
            log.warning("NOTICE: %s", loaded.notice)
        return ServedModel(spec, engine, loaded.revision, loaded.origin, loaded.notice)

    async def wait_for_a_model(self) -> None:
        """Return when a model can be asked for; NotReady when there is none within 10 s, or will be none."""
        until = time.monotonic() + HOLD
        while not self.entries and self.loading and not self.draining and time.monotonic() < until:
            await asyncio.sleep(_POLL)
        self.entry(None)

    def entry(self, name: str | None) -> ModelEntry:
        """The configured model of this id or alias; None or "" means the default one. NotReady, ModelNotFound."""
        entries = self.entries
        if not entries:
            if self.loading and not self.draining:
                raise NotReady("the model is loading; try again in a few seconds")
            raise NotReady(f"no model is loaded: {self.failure.message if self.failure else 'the server is stopping'}")
        if not name:
            return entries[0]
        for entry in entries:
            if answers_to(entry.model, name):
                return entry
        if self.loading:
            raise NotReady("further models are loading; try again in a few seconds")
        served = ", ".join(entry.id for entry in entries)
        raise ModelNotFound(
            f"model '{name[:200]}' is not served here; served: {served}. {self._why_not(name)}".strip(), param="model"
        )

    @asynccontextmanager
    async def use(self, name: str | None) -> AsyncIterator[ServedModel]:
        """The model of this id or alias, in memory as long as the block lasts: the only way to its engine.

        A model that is on disk is loaded first, which takes a bounded while. NotReady, ModelNotFound.
        """
        async with self.residents.use(self.entry(name)) as model:
            yield model

    def reranker(self, name: str | None) -> ModelEntry:
        """As `entry`, of the cross-encoders. ModelNotFound that says how to have one where there is none."""
        self.entry(None)  # NotReady before anything else
        first = next((entry for entry in self.entries if entry.model.task == "score"), None)
        if first is None and not self.loading:
            raise ModelNotFound(
                "no reranker is served: start with EMBEDDING_RERANK_MODEL=NAME (or `serve --rerank-model NAME`); "
                + _RERANKERS,
                param="model",
            )
        if first is None or name:
            return self.entry(name or "the reranker")
        return first

    def _find_reasons(self) -> dict[str, str]:
        from embedserve.models.sources import reasons_not_served  # with huggingface_hub: 0.2 s

        notice = next((entry.notice for entry in self.entries if entry.notice), "")
        try:
            return reasons_not_served(self.settings.home, notice)
        except OSError as error:  # a folder that cannot be read costs the reasons of refusals, not the start
            log.warning("what else is on this machine cannot be told: %s", error)
            return {}

    def _why_not(self, name: str) -> str:
        spec = find(name)
        return self._reasons.get(spec.id, f"`embedserve models` says how to get {spec.id}.") if spec else ""

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
        self.interrupted = self.interrupted or self.residents.at_work
        await self.residents.close()
        if self._cache is not None and self._cache[1] is not None:
            await asyncio.to_thread(self._cache[1].close)
