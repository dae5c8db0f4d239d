"""The embeddings request: from body bytes to checked fields, each mistake a 400 that names it.

Parsed by hand rather than by a pydantic model, for three reasons: errors must be OpenAI's (never 422) and never
quote the input; `[1, 2, 3]` is one input of token ids while `["a", "b"]` is two; and lone surrogates, which JavaScript
clients send when they cut a text inside an emoji, are to be embedded (as U+FFFD), not refused.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from embedserve.backends.base import TokenIds
from embedserve.errors import InvalidRequest

_SURROGATE = re.compile("[\ud800-\udfff]")

REQUEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "additionalProperties": False,
    "properties": {
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
            "description": "A served model's id or alias; left out: the default model",
        },
        "encoding_format": {
            "enum": ["float", "base64"],
            "default": "float",
            "description": "base64: little-endian float32",
        },
        "dimensions": {
            "type": "integer",
            "description": "Only what the model was trained for (GET /v1/models)",
        },
        "user": {"type": "string", "description": "Accepted and not used"},
        "input_type": {"type": "string", "description": "Ours: query or document, or a prompt's name"},
        "prompt_name": {"type": "string", "description": "Ours: one of the model's prompts"},
        "truncate": {
            "type": "boolean",
            "description": "Ours: false refuses over-long texts instead of cutting them",
        },
    },
    "example": {"input": ["def add(a, b):\n    return a + b"], "model": "jina-code-v2"},
}


@dataclass
class EmbeddingRequest:
    """A checked request. Exactly one of `texts` and `ids` is set."""

    texts: list[str] | None
    ids: list[TokenIds] | None
    model: str | None
    base64: bool
    dimensions: int | None
    input_type: str | None
    prompt_name: str | None
    truncate: bool | None


def parse_request(body: bytes, max_inputs: int) -> EmbeddingRequest:
    """Raises InvalidRequest."""
    fields = _load(body)
    if not isinstance(fields, dict):
        raise InvalidRequest("the body must be a JSON object")
    _check_names(fields)
    if "input" not in fields:
        raise InvalidRequest("'input' is missing", param="input")
    texts, ids = _input(fields["input"], max_inputs)
    encoding = _typed(fields, "encoding_format", str, "a string") or "float"
    if encoding not in ("float", "base64"):
        raise InvalidRequest("'encoding_format' must be 'float' or 'base64'", param="encoding_format")
    dimensions = _typed(fields, "dimensions", int, "an integer")
    if dimensions is not None and dimensions < 1:
        raise InvalidRequest("'dimensions' must be at least 1", param="dimensions")
    _typed(fields, "user", str, "a string")
    return EmbeddingRequest(
        texts=texts,
        ids=ids,
        model=_typed(fields, "model", str, "a string"),
        base64=encoding == "base64",
        dimensions=dimensions,
        input_type=_typed(fields, "input_type", str, "a string"),
        prompt_name=_typed(fields, "prompt_name", str, "a string"),
        truncate=_typed(fields, "truncate", bool, "true or false"),
    )


def _load(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"\\u" in body:  # perhaps a lone surrogate, which orjson refuses
            try:
                return _without_surrogates(json.loads(body))
            except (ValueError, RecursionError):
                pass
        raise InvalidRequest(f"the body is not valid JSON (line {error.lineno}, column {error.colno})") from None


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {key: _without_surrogates(one) for key, one in value.items()}
    return value


def _check_names(fields: dict[str, Any]) -> None:
    known = REQUEST_SCHEMA["properties"]
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
            raise InvalidRequest(f"unknown field '{name[:64]}'{hint}", param=name[:64])


def _typed(fields: dict[str, Any], name: str, kind: type, what: str) -> Any:
    value = fields.get(name)
    # JSON's true is Python's int 1: compare types exactly.
    if value is not None and type(value) is not kind:
        raise InvalidRequest(f"'{name}' must be {what}", param=name)
    return value


def _input(value: Any, max_inputs: int) -> tuple[list[str] | None, list[TokenIds] | None]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise InvalidRequest("'input' must be a string, a list of strings, or token ids", param="input")
    if not value:
        raise InvalidRequest("'input' is an empty list", param="input")
    if type(value[0]) is int:
        return None, [_ids(value, 0)]
    if len(value) > max_inputs:
        raise InvalidRequest(
            f"'input' has {len(value)} elements; at most {max_inputs} are taken in one request (EMBEDDING_MAX_INPUTS)",
            param="input",
        )
    if isinstance(value[0], list):
        return None, [_ids(row, i) for i, row in enumerate(value)]
    for i, text in enumerate(value):
        if type(text) is not str:
            raise InvalidRequest(f"'input' element {i} is not a string, as the first one is", param="input")
        if not text:
            raise InvalidRequest(f"'input' element {i} is an empty string", param="input")
    return value, None


def _ids(row: Any, index: int) -> TokenIds:
    if not isinstance(row, list) or not row or any(type(one) is not int for one in row):
        raise InvalidRequest(f"'input' element {index} is not a non-empty list of token ids (integers)", param="input")
    try:
        return np.array(row, dtype=np.int32)
    except OverflowError:
        raise InvalidRequest(f"'input' element {index} has a token id that is too large", param="input") from None
