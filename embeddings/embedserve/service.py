"""Embeddings inside your own Python program: the server's engine without HTTP.

    from embedserve.service import EmbeddingService

    with EmbeddingService("all-MiniLM-L6-v2") as service:
        documents = service.embed_documents(["def add(a, b): ...", "class Node: ..."])   # (2, 384)
        query = service.embed_query("add two numbers")                                   # (384,)
        scores = service.similarity(query, documents)                                    # (2,)

Batching, memory control, prompts and checks are the server's own: the engine runs on an event loop in a thread of its
own. What is not given here (EMBEDDING_HOME, EMBEDDING_THREADS, EMBEDDING_DEFAULT_PROMPT, ...) is read from the
environment as the server does. Vectors are not cached. Knows nothing of HTTP and admission.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from embedserve.engine.engine import Engine
from embedserve.engine.memory import MemoryGovernor
from embedserve.errors import InvalidRequest, NotReady, SettingsError, SetupError
from embedserve.machine.memory import usable_memory
from embedserve.models import prompts
from embedserve.models.spec import ModelSpec
from embedserve.serving.loading import Loaded, load
from embedserve.settings import Settings, load_settings

Vectors = npt.NDArray[np.float32]
_T = TypeVar("_T")
_DTYPES = {
    "auto": "auto",
    **dict.fromkeys(("float32", "fp32"), "fp32"),
    **dict.fromkeys(("bfloat16", "bf16"), "bf16"),
    **dict.fromkeys(("float16", "fp16"), "fp16"),
    "int8": "int8",
}


class EmbeddingService:
    """One model, loaded and warm. Every method may be called from any thread.

    model: a known id, an alias, a folder, a hub id, or `auto`. device: auto, cpu, cuda or mps. dtype: auto, float32,
    bfloat16, float16 or int8; one that is wrong for the model or the machine is refused with the reason.
    Raises SetupError (ModelUnavailable, SettingsError, ...) when the model cannot be served as asked.
    """

    def __init__(self, model: str = "auto", device: str = "auto", dtype: str = "auto") -> None:
        if dtype not in _DTYPES:
            raise SettingsError(f"dtype is {dtype!r}; known are auto, float32, bfloat16, float16 and int8")
        self._settings = load_settings(model=model, device=device, precision=_DTYPES[dtype])
        loaded = load(model, self._settings)
        _refuse_what_is_not_embedded(loaded)
        self.notice = loaded.notice  # what a user should know: a fallback, how the files were understood
        self._spec = loaded.spec
        self._engine = _engine(loaded, self._settings)
        self._closing = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="embedserve-service", daemon=True)
        self._thread.start()
        try:
            self._await(self._engine.start())
        except BaseException:
            self.close()
            raise

    @property
    def model(self) -> str:
        """The model's id."""
        return self._spec.id

    @property
    def precision(self) -> str:
        """Of the weights that run: fp32, bf16, fp16 or int8."""
        return self._engine.backend.info.precision

    @property
    def device(self) -> str:
        """Where they run: cpu, cuda, mps."""
        return self._engine.backend.info.device

    @property
    def why(self) -> str:
        """Why this backend and precision were chosen, one line."""
        return self._engine.backend.info.why

    @property
    def dimension(self) -> int:
        """Of a full vector."""
        return self._engine.backend.info.dimension

    @property
    def prompts(self) -> dict[str, str]:
        """Name -> the text that is put before an input when the prompt is asked for."""
        return dict(self._spec.prompts)

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        input_type: str | None = None,
        prompt_name: str | None = None,
        dimensions: int | None = None,
    ) -> Vectors:
        """L2-normalised float32 vectors: (dimension,) for a string, (n, dimension) for a list, in its order.

        input_type: query or document. prompt_name: one of the model's `prompts`. Neither: no prompt is added, unless
        one is configured. dimensions: cut to so many and normalised again. A text over the model's limit is cut.
        Raises InvalidRequest that names what is wrong.
        """
        prefix = self._prefix(input_type=input_type, prompt_name=prompt_name)
        return self._embed(texts, prefix, dimensions)

    def embed_query(self, texts: str | Sequence[str], *, dimensions: int | None = None) -> Vectors:
        """As `embed`, as questions; the plain text where the model has no query side."""
        return self.embed(texts, input_type=prompts.QUERY, dimensions=dimensions)

    def embed_documents(
        self,
        texts: str | Sequence[str],
        *,
        title: str | Sequence[str] | None = None,
        dimensions: int | None = None,
    ) -> Vectors:
        """As `embed`, as what is searched. title: one for all, or one for each text (EmbeddingGemma takes titles)."""
        if title is None or isinstance(title, str):
            prefix = self._prefix(input_type=prompts.DOCUMENT, title=title)
            return self._embed(texts, prefix, dimensions)
        if isinstance(texts, str) or len(title) != len(texts):
            raise InvalidRequest("'title' must be one string, or one for each text", param="title")
        prefixes = [self._prefix(input_type=prompts.DOCUMENT, title=one) for one in title]
        if len(set(prefixes)) > 1 and not self._spec.pools_prompt:
            raise InvalidRequest("this model does not pool its prompt: give one 'title' for all texts", param="title")
        return self._embed(texts, prefixes, dimensions)

    def similarity(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Vectors:
        """Cosine of every row of `a` (n, d) with every row of `b` (m, d): (n, m) float32.

        A single vector (d,) on either side loses that side's axis: two of them give an array of no dimensions, which
        float() takes. A row of zeros has similarity 0 to everything. ValueError when the widths differ.
        """
        one, other = _unit(a), _unit(b)
        if one.shape[-1] != other.shape[-1]:
            raise ValueError(f"vectors of {one.shape[-1]} and of {other.shape[-1]} dimensions cannot be compared")
        return np.asarray(one @ other.T, dtype=np.float32)

    def supported_dimensions(self) -> tuple[int, ...]:
        """What `dimensions` may be, the full one first; of a model that allows a whole range, the usual values."""
        return tuple(sorted(self._spec.dimensions, reverse=True))

    def is_dimension_supported(self, dimension: int) -> bool:
        """Whether `dimensions` may have this value."""
        return self._spec.allows(dimension)

    def close(self) -> None:
        """Free the model; what still waits fails with NotReady. A second call does nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            asyncio.run_coroutine_threadsafe(self._engine.close(), self._loop).result()
            asyncio.run_coroutine_threadsafe(self._loop.shutdown_default_executor(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> EmbeddingService:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prefix(self, **asked: str | None) -> str:
        return prompts.prefix(self._spec, **asked)  # type: ignore[arg-type]

    def _embed(self, texts: str | Sequence[str], prefix: str | list[str], dimensions: int | None) -> Vectors:
        """prefix: one for all texts, or one for each."""
        dimension = prompts.dimension(self._spec, dimensions)
        alone = isinstance(texts, str)
        rows = [texts] if isinstance(texts, str) else list(texts)
        for i, text in enumerate(rows):
            if not isinstance(text, str):
                raise InvalidRequest(f"element {i} is a {type(text).__name__}, not a string", param="texts")
        if not rows:
            return np.empty((0, dimension or self.dimension), dtype=np.float32)
        if not isinstance(prefix, str) and len(set(prefix)) > 1:
            rows, prefix = [one + text for one, text in zip(prefix, rows, strict=True)], ""
        common = prefix if isinstance(prefix, str) else prefix[0]
        vectors = self._await(self._engine.embed(rows, prefix=common, dimension=dimension)).vectors
        return vectors[0] if alone else vectors

    def _await(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._closed:
            work.close()
            raise NotReady("this EmbeddingService is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C: nobody computes for a caller that has gone
            future.cancel()
            raise


def _refuse_what_is_not_embedded(loaded: Loaded) -> None:
    """The server serves it; here its answers would be wrong in silence."""
    if loaded.spec.task == "score":
        loaded.backend.close()
        raise SetupError(
            f"{loaded.spec.id} is a cross-encoder: it scores pairs and gives no embedding; use `embedserve serve`"
        )


def _engine(loaded: Loaded, settings: Settings) -> Engine:
    spec: ModelSpec = loaded.spec
    governor = MemoryGovernor(
        limit=usable_memory(settings.memory_limit),
        percent=settings.max_memory_percent,
        min_texts=settings.min_batch_size,
        max_texts=settings.max_batch_size,
        adaptive=settings.adaptive_batching,
        explicit=settings.batch_size_is_given,
        workers=loaded.backend.info.streams,
    )
    return Engine(
        spec.id,
        loaded.backend,
        loaded.tokenizer,
        spec.max_tokens,
        governor,
        pool_prompt=spec.pools_prompt,
        centred=spec.centred,
    )


def _unit(rows: npt.ArrayLike) -> npt.NDArray[np.float64]:
    wide = np.asarray(rows, dtype=np.float64)
    if wide.ndim not in (1, 2):
        raise ValueError(f"vectors must be (d,) or (n, d), not {wide.shape}")
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    unit: npt.NDArray[np.float64] = wide / np.where(norms > 0, norms, 1)
    return unit
