"""Scoring formulas: the expression JSON of a `formula` query -> Qdrant Edge."""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields, expect
from embedserve.vectordb.errors import format_error
from embedserve.vectordb.field_conditions import checked, parse_place
from embedserve.vectordb.filters import parse_condition

_E = edge.Expression
_LISTS = {"mult": _E.Mult, "sum": _E.Sum, "max": _E.Max, "min": _E.Min}
_SINGLES = {
    "neg": _E.Neg,
    "abs": _E.Abs,
    "sqrt": _E.Sqrt,
    "exp": _E.Exp,
    "log10": _E.Log10,
    "ln": _E.Ln,
    "acosh": _E.Acosh,
}
_DECAYS = {"lin_decay": edge.DecayKind.Lin, "exp_decay": edge.DecayKind.Exp, "gauss_decay": edge.DecayKind.Gauss}


def parse_formula(value: Any, defaults: dict[str, Any], where: str) -> edge.Formula:
    expression = _expression(value, f"{where}.formula")
    return checked(lambda: edge.Formula(expression, defaults), where)


def _expression(value: Any, where: str) -> Any:
    if isinstance(value, str):
        return checked(lambda: _E.Variable(value), where)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _E.Constant(float(value))
    if len(expect(value, dict, where)) == 1:
        ((name, inner),) = value.items()
        made = _operator(name, inner, f"{where}.{name}")
        if made is not None:
            return made
    return _E.Condition(parse_condition(value, where))


def _operator(name: str, inner: Any, where: str) -> Any:
    if name in _LISTS:
        parts = [_expression(item, f"{where}[{i}]") for i, item in enumerate(expect(inner, list, where))]
        return _LISTS[name](parts)
    if name in _SINGLES:
        return _SINGLES[name](_expression(inner, where))
    if name in ("datetime", "datetime_key"):
        text = expect(inner, str, where)
        return checked(lambda: (_E.Datetime if name == "datetime" else _E.DatetimeKey)(text), where)
    if name in _DECAYS or name in ("div", "pow", "geo_distance"):
        fields = Fields(inner, where)
        made = _of_fields(name, fields)
        fields.done()
        return made
    return None


def _of_fields(name: str, fields: Fields) -> Any:
    where = fields.where
    if name == "pow":
        return _E.Pow(*(_expression(fields.need(part), f"{where}.{part}") for part in ("base", "exponent")))
    if name == "div":
        left, right = (_expression(fields.need(part), f"{where}.{part}") for part in ("left", "right"))
        return _E.Div(left, right, fields.take("by_zero_default", float))
    if name == "geo_distance":
        origin, to = parse_place(fields.need("origin"), f"{where}.origin"), fields.need("to", str)
        return checked(lambda: _E.GeoDistance(origin, to), where)
    x, target = _expression(fields.need("x"), f"{where}.x"), fields.take("target")
    at = None if target is None else _expression(target, f"{where}.target")
    midpoint, scale = fields.take("midpoint", float), fields.take("scale", float)
    if scale is not None and scale <= 0:
        raise format_error(f"{where}.scale: must be over 0")
    return checked(lambda: _E.Decay(_DECAYS[name], x, at, midpoint, scale), where)
