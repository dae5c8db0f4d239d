"""Strict reading of a JSON object: every field is taken by name and type, and what is left over is an error.

Qdrant drops most unknown fields in silence. Here a field that we do not know may be one that a newer Qdrant knows
and that would change the answer, so it is refused by name. A null is a value: an optional field takes it for
"absent", as in Qdrant, a required one refuses it, and it never decides by vanishing what kind of object this is
(`{"has_id": null}` is a wrong `has_id`, not a filter without conditions, which would match everything).
"""

from __future__ import annotations

from typing import Any

from embedserve.vectordb.errors import format_error, unsupported, validation_error

_KINDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
}


def expect(value: Any, kind: type, where: str) -> Any:
    """`value`, if it is of the JSON kind; an integer is a number too, true is neither."""
    right = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not right or (isinstance(value, bool) and kind is not bool):
        raise format_error(f"{where}: expected {_KINDS[kind]}, got {describe(value)}")
    return value


def describe(value: Any) -> str:
    """The kind of a value; never its content, which may be the user's text."""
    if value is None:
        return "null"
    return next((name for kind, name in _KINDS.items() if isinstance(value, kind)), type(value).__name__)


def one_of(value: str, known: dict[str, Any], where: str) -> Any:
    """The entry of `known` under this name."""
    if value not in known:
        raise format_error(f"{where}: unknown variant, expected one of {', '.join(known)}")
    return known[value]


def as_list(value: Any, where: str) -> list[Any]:
    """A list, or one object in its place."""
    return [value] if isinstance(value, dict) else list(expect(value, list, where))


class Fields:
    """The fields of one JSON object, taken one by one; `done()` refuses the rest.

    `name in fields` asks whether the object has the field, null or not.
    """

    def __init__(self, value: Any, where: str) -> None:
        self.where = where
        self._left: dict[str, Any] = dict(expect(value, dict, where))
        self._known: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, kind: type | None = None, default: Any = None) -> Any:
        """The optional field's value, checked to be of `kind` where one is given; absent or null is `default`."""
        self._known.append(name)
        value = self._left.pop(name, None)
        if value is None:
            return default
        return value if kind is None else expect(value, kind, f"{self.where}.{name}")

    def need(self, name: str, kind: type | None = None) -> Any:
        """As `take`, and absent or null is an error."""
        if name not in self._left:
            raise format_error(f"{self.where}: missing field `{name}`")
        if self._left[name] is None:
            raise format_error(f"{self.where}.{name}: must not be null")
        return self.take(name, kind)

    def count(self, name: str, default: int | None = None, minimum: int = 0) -> Any:
        """A whole number of at least `minimum`."""
        value = self.take(name, int, default)
        if value is not None and value < minimum:
            raise validation_error(f"{name}: value {value} invalid, must be {minimum} or larger")
        if value is not None and value >= 1 << 32:
            raise validation_error(f"{name}: value {value} invalid, must be less than 4294967296")
        return value

    def number(self, name: str, minimum: float, maximum: float, default: float | None = None) -> Any:
        """A number within bounds."""
        value = self.take(name, float, default)
        if value is not None and not minimum <= value <= maximum:
            raise validation_error(f"{name}: value {value} invalid, must be from {minimum} to {maximum}")
        return value

    def refuse(self, **features: str) -> None:
        """Fields of Qdrant's that the embedded one has no feature for: 501 if one is set."""
        for name, feature in features.items():
            if self.take(name) not in (None, [], {}):
                raise unsupported(f"{feature} (`{name}`)")

    def done(self) -> None:
        if self._left:
            known = ", ".join(f"`{name}`" for name in dict.fromkeys(self._known))
            raise format_error(f"{self.where}: unknown field `{next(iter(self._left))}`, expected one of {known}")
