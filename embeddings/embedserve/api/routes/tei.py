"""What clients of Text Embeddings Inference ask beside /embed and /rerank, in its shapes.

GET  /info         what is served and its limits
POST /tokenize     {"inputs"} -> [[{"id", "text", "special", "start", "stop"}]]
POST /decode       {"ids"} -> ["..."]
POST /similarity   {"inputs": {"source_sentence", "sentences"}} -> [cosine, ...]
POST /             /embed or /similarity, by what `inputs` is: Hugging Face's InferenceClient posts to the bare URL
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from embedserve import __version__
from embedserve.api.bodies import Fields, Known, Rules, boolean, load_object, string, texts, typed
from embedserve.api.declare import OPEN, Traits, declare
from embedserve.api.embedding import Wanted, embed, parsed
from embedserve.api.openapi import (
    BOOLEAN,
    INTEGER,
    MODEL,
    STRING,
    TEXTS,
    VECTOR,
    VECTORS,
    array,
    described,
    object_of,
)
from embedserve.api.openapi import one_of as any_of
from embedserve.api.responses import json_response, rows_json, runtime_of
from embedserve.api.routes.embed import parse_tei
from embedserve.errors import InvalidRequest
from embedserve.models import prompts
from embedserve.models.spec import ModelSpec
from embedserve.serving.entry import ServedModel

router = APIRouter()

_POST = Traits(admitted=True, errors="tei")
_SPOKEN = "1.8.0"  # the TEI whose calls these are
_TOKENIZED = 1024 * 1024  # characters of one request: a token's answer is some hundred bytes
_TRUE: dict[str, tuple[Any, ...]] = {"truncation_direction": ("Right", "right")}
_TOKENIZE = Known(used=("inputs", "model", "add_special_tokens", "prompt_name"))
_DECODE = Known(used=("ids", "model", "skip_special_tokens"))
_SIMILARITY = Known(used=("inputs", "model", "parameters"))
_SENTENCES = Known(used=("source_sentence", "sentences"))
_PARAMETERS = Known(used=("truncate", "prompt_name"), true=_TRUE)

_INPUTS = object_of("source_sentence", "sentences", source_sentence=STRING, sentences=array(STRING))
_PLACE = {"type": ["integer", "null"]}
_TOKEN = object_of(
    *("id", "text", "special", "start", "stop"), id=INTEGER, text=STRING, special=BOOLEAN, start=_PLACE, stop=_PLACE
)


@dataclass
class Tokenize:
    """special: with the model's special tokens."""

    texts: list[str]
    model: str | None
    special: bool
    prompt_name: str | None


@dataclass
class Decode:
    """skip: leave special tokens out of the texts."""

    rows: list[list[int]]
    model: str | None
    skip: bool


@router.post(
    "/",
    summary="Embed or compare (TEI at its bare address)",
    **described(body=object_of("inputs", inputs=any_of(TEXTS, _INPUTS)), answer=any_of(VECTORS, VECTOR)),
)
@declare(_POST)
async def bare(request: Request) -> Response:
    wanted, similar = await parsed(request, _parse_bare)
    return await (_similarity(request, wanted) if similar else _embedded(request, wanted))


@router.post(
    "/similarity",
    summary="Cosines of sentences with one sentence (TEI)",
    **described(body=object_of("inputs", inputs=_INPUTS, model=MODEL, parameters={"type": "object"}), answer=VECTOR),
)
@declare(_POST)
async def similarity(request: Request) -> Response:
    return await _similarity(request, await parsed(request, parse_similarity))


@router.post(
    "/tokenize",
    summary="Texts to tokens (TEI)",
    **described(
        body=object_of("inputs", inputs=TEXTS, model=MODEL, add_special_tokens=BOOLEAN, prompt_name=STRING),
        answer=array(array(_TOKEN)),
    ),
)
@declare(_POST)
async def tokenize(request: Request) -> Response:
    """`start` and `stop` are places in the text, in characters; special tokens have none."""
    asked = await parsed(request, parse_tokenize)
    async with runtime_of(request).use(asked.model) as model:
        return await asyncio.to_thread(_tokenized, model, asked)


@router.post(
    "/decode",
    summary="Token ids to texts (TEI)",
    **described(
        body=object_of(
            "ids", ids=any_of(array(INTEGER), array(array(INTEGER))), model=MODEL, skip_special_tokens=BOOLEAN
        ),
        answer=array(STRING),
    ),
)
@declare(_POST)
async def decode(request: Request) -> Response:
    asked = await parsed(request, parse_decode)
    async with runtime_of(request).use(asked.model) as model:
        return await asyncio.to_thread(_decoded, model, asked)


@router.get(
    "/info",
    summary="What is served, and its limits (TEI)",
    **described(answer=object_of("model_id", "max_input_length", "version", model_id=STRING, max_input_length=INTEGER)),
)
@declare(Traits(open=OPEN.open, errors="tei"))
async def info(request: Request) -> Response:
    runtime = runtime_of(request)
    entry = runtime.entry(None)
    settings, spec, loaded = runtime.settings, entry.model, entry.info
    return json_response(
        {
            "model_id": spec.hub_id or spec.id,
            "model_sha": entry.revision,
            "model_dtype": loaded.precision if loaded else None,
            "model_type": _model_type(spec),
            "max_concurrent_requests": settings.semaphore_value + settings.queue_size,
            "max_input_length": spec.max_tokens,
            "max_batch_tokens": loaded.best_batch_tokens if loaded else None,
            "max_batch_requests": None,
            "max_client_batch_size": settings.max_inputs,
            "auto_truncate": settings.overlong == "truncate",
            "tokenization_workers": loaded.threads if loaded else None,
            "version": _SPOKEN,
            "sha": None,
            "docker_label": None,
            "embedserve": __version__,
        }
    )


def _model_type(spec: ModelSpec) -> dict[str, Any]:
    if spec.task == "embed":
        return {"embedding": {"pooling": spec.pooling}}
    labels = [f"LABEL_{i}" for i in range(spec.dimension)]
    return {
        "reranker": {
            "id2label": {str(i): label for i, label in enumerate(labels)},
            "label2id": {label: i for i, label in enumerate(labels)},
        }
    }


def _parse_bare(body: bytes, rules: Rules) -> tuple[Wanted, bool]:
    """What to embed, and whether the answer is the cosines of all with the first."""
    fields = load_object(body)
    if isinstance(fields.get("inputs"), dict):
        return _sentences(fields, rules), True
    return parse_tei(fields, rules), False


def parse_similarity(body: bytes, rules: Rules) -> Wanted:
    """The source sentence, then the others. Raises InvalidRequest."""
    return _sentences(load_object(body), rules)


def _sentences(fields: Fields, rules: Rules) -> Wanted:
    _SIMILARITY.check(fields)
    inputs: Fields | None = typed(fields, "inputs", dict, "an object with 'source_sentence' and 'sentences'")
    if inputs is None:
        raise InvalidRequest("'inputs' is missing", param="inputs")
    _SENTENCES.check(inputs)
    parameters: Fields = typed(fields, "parameters", dict, "an object") or {}
    _PARAMETERS.check(parameters)
    string(inputs, "source_sentence")
    return Wanted(
        texts=[*texts(inputs, "source_sentence", rules), *texts(inputs, "sentences", rules)],
        model=string(fields, "model"),
        truncate=boolean(parameters, "truncate"),
        prompt_name=string(parameters, "prompt_name"),
    )


def parse_tokenize(body: bytes, rules: Rules) -> Tokenize:
    """Raises InvalidRequest."""
    fields = load_object(body)
    _TOKENIZE.check(fields)
    found = texts(fields, "inputs", Rules(rules.max_inputs, empty=True))
    if sum(map(len, found)) > _TOKENIZED:
        raise InvalidRequest(f"'inputs' has over {_TOKENIZED} characters; send fewer texts at once", param="inputs")
    special = boolean(fields, "add_special_tokens")
    return Tokenize(found, string(fields, "model"), special is not False, string(fields, "prompt_name"))


def parse_decode(body: bytes, rules: Rules) -> Decode:
    """Raises InvalidRequest."""
    fields = load_object(body)
    _DECODE.check(fields)
    ids = fields.get("ids")
    rows = [ids] if isinstance(ids, list) and ids and type(ids[0]) is int else ids
    if not isinstance(rows, list) or not rows or any(not isinstance(row, list) for row in rows):
        raise InvalidRequest("'ids' must be a non-empty list of token ids, or of such lists", param="ids")
    if len(rows) > rules.max_inputs or sum(map(len, rows)) > _TOKENIZED:
        raise InvalidRequest(
            f"'ids' has over {rules.max_inputs} rows or over {_TOKENIZED} token ids; send fewer at once", param="ids"
        )
    skip = boolean(fields, "skip_special_tokens")
    return Decode(rows, string(fields, "model"), skip is not False)


async def _embedded(request: Request, wanted: Wanted) -> Response:
    answer = await embed(request, wanted)
    return await answer.response(lambda: rows_json(answer.vectors))


async def _similarity(request: Request, wanted: Wanted) -> Response:
    answer = await embed(request, wanted)
    cosines = answer.vectors[1:] @ answer.vectors[0]
    return await answer.response(lambda: orjson.dumps(cosines, option=orjson.OPT_SERIALIZE_NUMPY))


def _tokenized(model: ServedModel, asked: Tokenize) -> Response:
    prefix = prompts.prefix(model.spec, prompt_name=asked.prompt_name) if asked.prompt_name else ""
    tokenizer = model.engine.tokenizer
    return json_response([tokenizer.tokens(prefix + text, asked.special) for text in asked.texts])


def _decoded(model: ServedModel, asked: Decode) -> Response:
    tokenizer = model.engine.tokenizer
    for row in asked.rows:
        if any(type(one) is not int or not 0 <= one < tokenizer.vocab_size for one in row):
            raise InvalidRequest(
                f"'ids' must be token ids of {model.spec.id}, from 0 to {tokenizer.vocab_size - 1}", param="ids"
            )
    return json_response([tokenizer.decode(row, asked.skip) for row in asked.rows])
