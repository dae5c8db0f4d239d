"""POST /v1/embeddings as OpenAI's, with the fields that Voyage, Jina, NIM, Mistral and vLLM clients add to it."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from embedserve.api.bodies import (
    Fields,
    Known,
    Rules,
    boolean,
    check_count,
    check_texts,
    load_object,
    one_of,
    positive,
    string,
)
from embedserve.api.declare import EMBEDS, declare
from embedserve.api.embedding import Answer, Wanted, embed, parsed
from embedserve.api.openapi import INTEGER, STRING, VECTOR, array, described, object_of
from embedserve.api.openapi import one_of as any_of
from embedserve.api.quantized import OUTPUT_TYPES, quantized
from embedserve.backends.base import TokenIds
from embedserve.errors import InvalidRequest

router = APIRouter()

_DESCRIBED: dict[str, Any] = {
    "input": {
        "description": "A text, a list of texts, a list of token ids (one input), or a list of lists of token ids",
        "oneOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}},
            {"type": "array", "items": {"type": "integer"}},
            {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        ],
    },
    "model": {
        "type": "string",
        "description": "A served model's id or alias; left out or empty: the default model",
    },
    "encoding_format": {
        "enum": ["float", "base64"],
        "default": "float",
        "description": "base64: of the bytes of the numbers, little-endian float32 unless output_dtype says otherwise",
    },
    "dimensions": {
        "type": "integer",
        "description": "Only what the model was trained for (GET /v1/models); also as output_dimension",
    },
    "output_dtype": {
        "enum": list(OUTPUT_TYPES),
        "default": "float",
        "description": "The numbers' type, as Voyage's; binary and ubinary are packed bits; also as embedding_type(s)",
    },
    "user": {"type": "string", "description": "Accepted and not used"},
    "input_type": {"type": "string", "description": "query or document (or a synonym), or a prompt's name"},
    "prompt_name": {"type": "string", "description": "One of the model's prompts"},
    "title": {"type": "string", "description": "Of the documents, for models whose prompts have one"},
    "truncate": {
        "type": "boolean",
        "description": "false refuses over-long texts instead of cutting them; also as truncation, and NONE or END",
    },
}
REQUEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "properties": _DESCRIBED,
    "example": {"input": ["def add(a, b):\n    return a + b"], "model": "jina-code-v2"},
}
_ANSWER = object_of(
    *("object", "data", "model", "usage"),
    object={"const": "list"},
    data=array(object_of("object", "index", "embedding", index=INTEGER, embedding=any_of(VECTOR, STRING))),
    model=STRING,
    usage=object_of("prompt_tokens", "total_tokens", "truncated", prompt_tokens=INTEGER, total_tokens=INTEGER),
)
_KNOWN = Known(
    used=(*_DESCRIBED, "output_dimension", "embedding_type", "embedding_types", "truncation", "task"),
    unused={"user": str, "metadata": dict, "safety_identifier": str, "priority": int},
    true={
        "normalized": (True,),
        "normalize": (True,),
        "add_special_tokens": (True,),
        "late_chunking": (False,),
        "return_multivector": (False,),
        "modality": ("text",),
    },
)


@dataclass
class EmbeddingRequest:
    """What to embed, and how the numbers are written."""

    wanted: Wanted
    base64: bool
    kind: str  # one of OUTPUT_TYPES


@router.post(
    "/v1/embeddings",
    summary="Embed texts (OpenAI)",
    **described(body=REQUEST_SCHEMA, answer=_ANSWER),
)
@declare(EMBEDS)
async def embeddings(request: Request) -> Response:
    """Answers in input order, with exact token usage. The header X-Embedserve-Truncated counts the texts cut."""
    return await _answer(request, await parsed(request, parse_request))


@router.post(
    "/openai/deployments/{deployment:path}/embeddings",
    summary="Embed texts (Azure OpenAI)",
    **described(body=REQUEST_SCHEMA, answer=_ANSWER),
)
@declare(EMBEDS)
async def azure_embeddings(request: Request, deployment: str) -> Response:
    """As /v1/embeddings; the deployment is the model, whatever the body says. `api-version` makes no difference."""
    asked = await parsed(request, parse_request)
    asked.wanted.model = deployment
    return await _answer(request, asked)


async def _answer(request: Request, asked: EmbeddingRequest) -> Response:
    answer = await embed(request, asked.wanted)
    return await answer.response(
        lambda: embeddings_body(answer, base64=asked.base64, kind=asked.kind), not asked.base64
    )


def parse_request(body: bytes, rules: Rules) -> EmbeddingRequest:
    """Raises InvalidRequest."""
    fields = load_object(body)
    _KNOWN.check(fields)
    if "input" not in fields:
        raise InvalidRequest("'input' is missing", param="input")
    texts, ids = _input(fields["input"], rules)
    kind, base64 = _output(fields)
    wanted = Wanted(
        texts=texts,
        ids=ids,
        model=string(fields, "model"),
        dimensions=one_of(fields, positive, "dimensions", "output_dimension"),
        input_type=one_of(fields, string, "input_type", "task"),
        prompt_name=string(fields, "prompt_name"),
        title=string(fields, "title"),
        truncate=_truncate(fields),
    )
    return EmbeddingRequest(wanted, base64, kind)


def _truncate(fields: Fields) -> bool | None:
    value = fields.get("truncate")
    if isinstance(value, str):
        fields = {**fields, "truncate": truncate_word(value, "truncate")}
    cut: bool | None = one_of(fields, boolean, "truncate", "truncation")
    return cut


def truncate_word(value: str, name: str) -> bool:
    """NIM's and Cohere's NONE and END. Raises InvalidRequest for START: the engine keeps a text's beginning."""
    word = value.upper()
    if word not in ("NONE", "END"):
        raise InvalidRequest(f"'{name}' must be true or false (or NONE, END); a text's end is what is cut", param=name)
    return word == "END"


def _output(fields: Fields) -> tuple[str, bool]:
    """The numbers' type, and whether they are written as base64."""
    encoding = string(fields, "encoding_format")
    if encoding not in (None, "float", "base64"):
        raise InvalidRequest(
            "'encoding_format' must be 'float' or 'base64'; other number types are asked for with 'output_dtype'",
            param="encoding_format",
        )
    kinds = {
        name: kind for name in ("output_dtype", "embedding_type", "embedding_types") if (kind := _kind(fields, name))
    }
    base64 = encoding == "base64" or "base64" in kinds.values()
    wanted = {kind for kind in kinds.values() if kind != "base64"}
    if len(wanted) > 1:
        raise InvalidRequest(f"{' and '.join(kinds)} contradict each other", param=next(iter(kinds)))
    return (wanted.pop() if wanted else "float"), base64


def _kind(fields: Fields, name: str) -> str | None:
    value = fields.get(name)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or (isinstance(value, str) and value in (*OUTPUT_TYPES, "base64")):
        return value
    raise InvalidRequest(f"'{name}' must be one of {', '.join(OUTPUT_TYPES)}", param=name)


def _input(value: Any, rules: Rules) -> tuple[list[str] | None, list[TokenIds] | None]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise InvalidRequest("'input' must be a string, a list of strings, or token ids", param="input")
    if not value:
        raise InvalidRequest("'input' is an empty list", param="input")
    if type(value[0]) is int:
        return None, [_ids(value, "'input'")]
    check_count(len(value), "input", rules)
    if isinstance(value[0], list):
        return None, [_ids(row, f"'input' element {i}") for i, row in enumerate(value)]
    check_texts(value, "input", rules)
    return value, None


def _ids(row: Any, where: str) -> TokenIds:
    """Raises InvalidRequest that says where, and which of its elements."""
    if not isinstance(row, list) or not row:
        raise InvalidRequest(f"{where} is not a non-empty list of token ids (integers)", param="input")
    odd = next((i for i, one in enumerate(row) if type(one) is not int), None)
    if odd is not None:
        raise InvalidRequest(f"{where} is to be token ids, but its element {odd} is no integer", param="input")
    try:
        return np.array(row, dtype=np.int32)
    except OverflowError:
        raise InvalidRequest(f"{where} has a token id that is too large", param="input") from None


def embeddings_body(answer: Answer, *, base64: bool, kind: str) -> bytes:
    """The answer's JSON: base64 straight from the array, numbers by orjson's numpy support, no Python lists."""
    rows = np.ascontiguousarray(quantized(answer.vectors, kind))
    if base64:
        little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
        written = [b'"%b"' % binascii.b2a_base64(row.tobytes(), newline=False) for row in little]
    else:
        written = [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in rows]
    data = b",".join(b'{"object":"embedding","index":%d,"embedding":%b}' % (i, row) for i, row in enumerate(written))
    usage = b'{"prompt_tokens":%d,"total_tokens":%d,"truncated":%d}' % (
        answer.result.tokens,
        answer.result.tokens,
        answer.result.truncated,
    )
    model = orjson.dumps(answer.model.spec.id)
    return b'{"object":"list","data":[%b],"model":%b,"usage":%b}' % (data, model, usage)
