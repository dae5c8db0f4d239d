"""From body bytes to fields, for every API: JSON, types, texts; each mistake is a 400 that names the field.

Parsed by hand rather than by pydantic models, for three reasons: errors must have one shape (never 422) and never
quote the input; `[1, 2, 3]` is one input of token ids while `["a", "b"]` is two; and lone surrogates, which JavaScript
clients send when they cut a text inside an emoji, are to be embedded (as U+FFFD), not refused. A byte order mark is
skipped.
"""

from __future__ import annotations

import codecs
import difflib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from embedserve.errors import InvalidRequest

_SURROGATE = re.compile("[\ud800-\udfff]")

Fields = dict[str, Any]  # a JSON object as it came in


@dataclass(frozen=True)
class Rules:
    """What the server lets a request have. empty: whether an empty string is embedded rather than refused."""

    max_inputs: int
    empty: bool = False


@dataclass(frozen=True)
class Known:
    """The fields of one API.

    used: read by its parser. unused: name -> type, accepted because they cannot change the answer. true: name -> the
    only values that say what is true anyway; another value is refused by name rather than ignored.
    """

    used: Collection[str]
    unused: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)
    true: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def check(self, fields: Fields) -> None:
        """Raise InvalidRequest for an unknown field or a value that would change the answer. null is no value."""
        for name, value in fields.items():
            if value is None or name in self.used:
                continue
            if name in self.unused:
                if not isinstance(value, self.unused[name]):
                    raise InvalidRequest(f"'{name}' has a value of the wrong type", param=name)
            elif name in self.true:
                if not any(type(value) is type(only) and value == only for only in self.true[name]):
                    wanted = " or ".join(json.dumps(only) for only in self.true[name])
                    raise InvalidRequest(f"'{name}' can only be {wanted} here", param=name)
            else:
                self._unknown(name)

    def _unknown(self, name: str) -> None:
        every = [*self.used, *self.true, *self.unused]
        near = difflib.get_close_matches(name, every, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(self.used)}"
        raise InvalidRequest(f"unknown field '{name[:64]}'; {hint}", param=name[:64])


def load_object(body: bytes) -> Fields:
    """The body's JSON object. Raises InvalidRequest."""
    fields = load(body)
    if not isinstance(fields, dict):
        raise InvalidRequest("the body must be a JSON object")
    return fields


def load(body: bytes) -> Any:
    """The body's JSON value; lone surrogates become U+FFFD. Raises InvalidRequest."""
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"\\u" in body:  # perhaps a lone surrogate, which orjson refuses
            try:
                whole = json.dumps(_without_surrogates(json.loads(body)), ensure_ascii=False)
                return orjson.loads(whole)  # NaN and numbers beyond 64 bits as in every other body
            except (ValueError, RecursionError):
                pass
        raise InvalidRequest(f"the body is not valid JSON (line {error.lineno}, column {error.colno})") from None


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    return value


def typed(fields: Fields, name: str, kind: type, what: str) -> Any:
    """The field's value, None when absent or null. `what`: the type in words, for the error."""
    value = fields.get(name)
    # JSON's true is Python's int 1: compare types exactly.
    if value is not None and type(value) is not kind:
        raise InvalidRequest(f"'{name}' must be {what}", param=name)
    return value


def string(fields: Fields, name: str) -> str | None:
    """A string field, None when absent or null."""
    value: str | None = typed(fields, name, str, "a string")
    return value


def boolean(fields: Fields, name: str) -> bool | None:
    """A boolean field, None when absent or null."""
    value: bool | None = typed(fields, name, bool, "true or false")
    return value


def positive(fields: Fields, name: str) -> int | None:
    """An integer of at least 1, None when absent or null."""
    value: int | None = typed(fields, name, int, "an integer")
    if value is not None and value < 1:
        raise InvalidRequest(f"'{name}' must be at least 1", param=name)
    return value


def one_of(fields: Fields, read: Any, *names: str) -> Any:
    """The value of the one field that is given, under any of its names. InvalidRequest when they contradict."""
    given = {name: value for name in names if (value := read(fields, name)) is not None}
    if len(set(given.values())) > 1:
        raise InvalidRequest(f"'{names[0]}' and '{names[1]}' contradict each other", param=names[0])
    return next(iter(given.values()), None)


def texts(fields: Fields, name: str, rules: Rules) -> list[str]:
    """A list of strings (a single string is one), checked for number and emptiness. Raises InvalidRequest."""
    value = fields.get(name)
    if value is None:
        raise InvalidRequest(f"'{name}' is missing", param=name)
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise InvalidRequest(f"'{name}' must be a string or a list of strings", param=name)
    if not value:
        raise InvalidRequest(f"'{name}' is an empty list", param=name)
    check_count(len(value), name, rules)
    check_texts(value, name, rules)
    return value


def check_count(count: int, name: str, rules: Rules) -> None:
    """Raise InvalidRequest when there are more elements than one request may have."""
    if count > rules.max_inputs:
        raise InvalidRequest(
            f"'{name}' has {count} elements; at most {rules.max_inputs} are taken in one request "
            "(EMBEDDING_MAX_INPUTS)",
            param=name,
        )


def check_texts(values: list[Any], name: str, rules: Rules) -> None:
    """Raise InvalidRequest unless every element is a string, and not an empty one where those are refused."""
    for i, text in enumerate(values):
        if type(text) is not str:
            raise InvalidRequest(f"'{name}' element {i} is not a string", param=name)
        if not text and not rules.empty:
            raise InvalidRequest(
                f"'{name}' element {i} is an empty string (EMBEDDING_EMPTY=embed embeds such)", param=name
            )
