"""Ollama's embedding calls over the same engine. Nothing is generated or pulled here."""

from __future__ import annotations

import datetime
import hashlib
import time
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from embedserve import __version__
from embedserve.api.bodies import Fields, Known, Rules, boolean, load_object, positive, string, texts, typed
from embedserve.api.declare import Traits, declare
from embedserve.api.embedding import Answer, Wanted, embed, parsed
from embedserve.api.openapi import (
    ANY,
    BOOLEAN,
    INTEGER,
    MODEL,
    STRING,
    TEXTS,
    TRUNCATE,
    VECTOR,
    VECTORS,
    array,
    described,
    object_of,
)
from embedserve.api.responses import json_response, rows_json, runtime_of
from embedserve.errors import InvalidRequest
from embedserve.serving.entry import ModelEntry
from embedserve.serving.runtime import Runtime

router = APIRouter()

_POST = Traits(admitted=True, errors="ollama")
_GET = Traits(errors="ollama")
_SPOKEN = "0.12.0"  # the Ollama whose embedding calls these are; clients ask before they use /api/embed
_NEVER = "9999-12-31T23:59:59Z"  # when a model is unloaded
_KEEP_ALIVE: dict[str, type | tuple[type, ...]] = {"keep_alive": (str, int, float)}
_EMBED = Known(used=("model", "input", "truncate", "dimensions", "options"), unused=_KEEP_ALIVE)
_EMBEDDINGS = Known(used=("model", "prompt", "options"), unused=_KEEP_ALIVE)
_SHOW = Known(used=("model", "name"), unused={"verbose": bool})
# Where a model runs, and how text would be generated: neither changes a vector.
_INERT: dict[str, type | tuple[type, ...]] = dict.fromkeys(
    (
        "num_thread",
        "num_gpu",
        "main_gpu",
        "num_batch",
        "use_mmap",
        "use_mlock",
        "numa",
        "low_vram",
        "seed",
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "tfs_z",
        "typical_p",
        "num_predict",
        "num_keep",
        "repeat_last_n",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
        "penalize_newline",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "stop",
    ),
    object,
)
_LISTED = object_of("models", models=array(object_of("name", "model", "digest", name=STRING, digest=STRING)))
_OPTIONS = Known(used=("num_ctx",), unused=_INERT)


@dataclass
class OllamaRequest:
    """What to embed. num_ctx: the context length that the client counts on, in tokens."""

    wanted: Wanted
    num_ctx: int | None


def parse_embed(body: bytes, rules: Rules) -> OllamaRequest:
    """POST /api/embed. Raises InvalidRequest."""
    fields = load_object(body)
    _EMBED.check(fields)
    wanted = Wanted(
        texts=texts(fields, "input", rules),
        model=string(fields, "model"),
        dimensions=positive(fields, "dimensions"),
        truncate=boolean(fields, "truncate"),
    )
    return OllamaRequest(wanted, _num_ctx(fields))


def parse_embeddings(body: bytes, rules: Rules) -> OllamaRequest:
    """POST /api/embeddings: one text. Raises InvalidRequest."""
    fields = load_object(body)
    _EMBEDDINGS.check(fields)
    string(fields, "prompt")
    return OllamaRequest(
        Wanted(texts=texts(fields, "prompt", rules), model=string(fields, "model")),
        _num_ctx(fields),
    )


def _num_ctx(fields: Fields) -> int | None:
    options: Fields = typed(fields, "options", dict, "an object") or {}
    _OPTIONS.check(options)
    return positive(options, "num_ctx")


async def _answer(request: Request, asked: OllamaRequest) -> Answer:
    limit = runtime_of(request).entry(asked.wanted.model).model.max_tokens
    if asked.num_ctx is not None and asked.num_ctx < limit:
        raise InvalidRequest(
            f"'num_ctx' cannot be less than the model's {limit} tokens here: texts are cut at the model's limit; "
            "leave it out",
            param="options.num_ctx",
        )
    return await embed(request, asked.wanted)


@router.post(
    "/api/embed",
    summary="Embed texts (Ollama)",
    **described(
        body=object_of(
            "input", model=MODEL, input=TEXTS, truncate=TRUNCATE, dimensions=INTEGER, options={"type": "object"}
        ),
        answer=object_of(
            *("model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"),
            model=STRING,
            embeddings=VECTORS,
            total_duration=INTEGER,
            load_duration=INTEGER,
            prompt_eval_count=INTEGER,
        ),
    ),
)
@declare(_POST)
async def ollama_embed(request: Request) -> Response:
    """Answers in input order. `options` that would change a vector are refused by name."""
    answer = await _answer(request, await parsed(request, parse_embed))
    return await answer.response(lambda: _embed_body(answer))


@router.post(
    "/api/embeddings",
    summary="Embed one text (Ollama, before /api/embed)",
    **described(
        body=object_of("prompt", model=MODEL, prompt=STRING, options={"type": "object"}),
        answer=object_of("embedding", embedding=VECTOR),
    ),
)
@declare(_POST)
async def ollama_embeddings(request: Request) -> Response:
    """A unit vector, as of /api/embed."""
    answer = await _answer(request, await parsed(request, parse_embeddings))
    return await answer.response(lambda: b'{"embedding":%b}' % rows_json(answer.vectors)[1:-1])


def _embed_body(answer: Answer) -> bytes:
    return b'{"model":%b,"embeddings":%b,"total_duration":%d,"load_duration":0,"prompt_eval_count":%d}' % (
        orjson.dumps(answer.model.spec.id),
        rows_json(answer.vectors),
        answer.seconds * 1e9,
        answer.result.tokens,
    )


@router.get("/api/tags", summary="What is served (Ollama)", **described(answer=_LISTED))
@declare(_GET)
async def tags(request: Request) -> Response:
    runtime = runtime_of(request)
    runtime.entry(None)
    return json_response({"models": [_listed(runtime, entry) for entry in _embedders(runtime)]})


@router.get("/api/ps", summary="What is in memory (Ollama)", **described(answer=_LISTED))
@declare(_GET)
async def running(request: Request) -> Response:
    runtime = runtime_of(request)
    loaded = [
        {
            **_listed(runtime, entry),
            "expires_at": _expires(runtime, entry),
            "size_vram": 0,
            "context_length": entry.model.max_tokens,
        }
        for entry in _embedders(runtime)
        if entry.state == "loaded"
    ]
    return json_response({"models": loaded})


@router.get(
    "/api/version",
    summary="The Ollama API that is spoken",
    **described(answer=object_of("version", "embedserve", version=STRING, embedserve=STRING)),
)
@declare(_GET)
async def version() -> Response:
    return json_response({"version": _SPOKEN, "embedserve": __version__})


def parse_show(body: bytes, _rules: Rules) -> str:
    """The model's name. Raises InvalidRequest."""
    fields = load_object(body)
    _SHOW.check(fields)
    name = string(fields, "model") or string(fields, "name")
    if not name:
        raise InvalidRequest("'model' is missing", param="model")
    return name


@router.post(
    "/api/show",
    summary="One served model (Ollama)",
    **described(
        body=object_of("model", model=STRING, verbose=BOOLEAN),
        answer=object_of(
            "details", "model_info", "capabilities", details=ANY, model_info=ANY, capabilities=array(STRING)
        ),
    ),
)
@declare(_POST)
async def show(request: Request) -> Response:
    runtime = runtime_of(request)
    entry = runtime.entry(await parsed(request, parse_show))
    spec = entry.model
    family = spec.architecture
    return json_response(
        {
            "license": spec.license,
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": _details(entry),
            "model_info": {
                "general.architecture": family,
                f"{family}.context_length": spec.max_tokens,
                f"{family}.embedding_length": entry.dimension,
            },
            "capabilities": ["embedding"],
            "modified_at": _started(runtime),
        }
    )


def _embedders(runtime: Runtime) -> list[ModelEntry]:
    """Ollama has no rerankers."""
    return [entry for entry in runtime.entries if entry.model.task == "embed"]


def _expires(runtime: Runtime, entry: ModelEntry) -> str:
    """When it is unloaded, as things are now."""
    if not runtime.settings.keep_alive:
        return _NEVER
    left = runtime.settings.keep_alive - entry.idle_for(time.monotonic())
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=max(left, 0))).isoformat()


def _listed(runtime: Runtime, entry: ModelEntry) -> dict[str, Any]:
    name = f"{entry.id}:latest"
    return {
        "name": name,
        "model": name,
        "modified_at": _started(runtime),
        "size": entry.model.size_bytes,
        "digest": hashlib.sha256(f"{entry.id}@{entry.revision}".encode()).hexdigest(),
        "details": _details(entry),
    }


def _details(entry: ModelEntry) -> dict[str, Any]:
    family = entry.model.architecture
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": entry.info.precision if entry.info else "",
    }


def _started(runtime: Runtime) -> str:
    return datetime.datetime.fromtimestamp(runtime.started, datetime.UTC).isoformat()
