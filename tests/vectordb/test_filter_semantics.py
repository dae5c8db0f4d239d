"""Generated filters choose what a plain Python evaluation and qdrant-client's own local mode choose."""

import functools
import operator
import tempfile

import pytest
import qdrant_edge as edge
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import models
from qdrant_client.local.payload_filters import check_filter

from embedserve.vectordb.errors import ApiError
from embedserve.vectordb.filters import parse_filter
from embedserve.vectordb.ids import plain_id
from embedserve.vectordb.points import parse_selector

WORDS = ["a", "b", "", "A"]
SCALARS = st.sampled_from([*WORDS, 0, 1, 2, -1, 1.5, True, False])
FIELD = st.none() | SCALARS | st.lists(SCALARS | st.none(), max_size=3)
PAYLOADS = st.fixed_dictionaries(
    {}, optional={"x": FIELD, "y": FIELD, "d": st.fixed_dictionaries({}, optional={"e": FIELD})}
)
KEYS = st.sampled_from(["x", "y", "d.e", "absent"])
IDS = st.lists(st.integers(0, 9), max_size=3)
BOUND = st.none() | st.sampled_from([-1, 0, 0.5, 1, 2])
COUNT = st.none() | st.integers(0, 3)


def bounds(values):
    return st.fixed_dictionaries({}, optional=dict.fromkeys(("gt", "gte", "lt", "lte"), values))


SAME = st.lists(st.sampled_from(WORDS), max_size=2) | st.lists(st.integers(-1, 2), max_size=2)
CONDITION = st.one_of(
    st.builds(lambda k, v: {"key": k, "match": {"value": v}}, KEYS, st.sampled_from([*WORDS, 0, 1, True, False])),
    st.builds(lambda k, n, v: {"key": k, "match": {n: v}}, KEYS, st.sampled_from(["any", "except"]), SAME),
    st.builds(lambda k, r: {"key": k, "range": r}, KEYS, bounds(BOUND)),
    st.builds(lambda k, r: {"key": k, "values_count": r}, KEYS, bounds(COUNT)),
    st.builds(lambda n, k: {n: {"key": k}}, st.sampled_from(["is_empty", "is_null"]), KEYS),
    st.builds(lambda i: {"has_id": i}, IDS),
)


def filters(inner):
    clause = st.lists(inner, max_size=3) | inner
    some = st.builds(lambda c, n: {"conditions": c, "min_count": n}, st.lists(inner, max_size=3), st.integers(0, 3))
    return st.fixed_dictionaries(
        {}, optional={"must": clause, "should": clause, "must_not": clause, "min_should": some}
    )


FILTER = filters(st.recursive(CONDITION, filters, max_leaves=5))


@functools.cache
def folder():
    return tempfile.mkdtemp()


@functools.cache
def shard():
    config = edge.EdgeConfig(vectors=edge.EdgeVectorParams(1, edge.Distance.Dot))
    return edge.EdgeShard.create(folder() + "/shard", config)


def chosen_by_us(payloads, condition):
    shard().update(edge.UpdateOperation.delete_points_by_filter(edge.Filter()))
    points = [edge.Point(i, [1.0], payload) for i, payload in enumerate(payloads)]
    shard().update(edge.UpdateOperation.upsert_points(points))
    records, _ = shard().scroll(edge.ScrollRequest(limit=100, filter=parse_filter(condition)))
    return {plain_id(record.id) for record in records}


def value_at(payload, key):
    """(is it there, the value)."""
    for part in key.split("."):
        if not isinstance(payload, dict) or part not in payload:
            return False, None
        payload = payload[part]
    return True, payload


def values_at(payload, key):
    there, value = value_at(payload, key)
    return [] if not there else value if isinstance(value, list) else [value]


def same(a, b):
    return type(a) is type(b) and a == b


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def within(number, limits):
    compare = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
    return all(compare[name](number, limit) for name, limit in limits.items() if limit is not None)


def holds(condition, point_id, payload):
    """Qdrant's documented meaning of a condition, said once more in plain Python."""
    if "has_id" in condition:
        return point_id in condition["has_id"]
    if "is_null" in condition:
        return None in values_at(payload, condition["is_null"]["key"])
    if "is_empty" in condition:
        return value_at(payload, condition["is_empty"]["key"])[1] in (None, [])
    if "key" not in condition:
        return passes(condition, point_id, payload)
    values = values_at(payload, condition["key"])
    if "range" in condition:
        return any(within(value, condition["range"]) for value in values if is_number(value))
    if "values_count" in condition:
        _, value = value_at(payload, condition["key"])
        number = 0 if value is None else len(value) if isinstance(value, list) else 1
        return within(number, condition["values_count"])
    (kind, wanted), *_ = condition["match"].items()
    if kind == "value":
        return any(same(value, wanted) for value in values)
    if kind == "any":
        return any(same(value, one) for value in values for one in wanted)
    return any(value is not None and not any(same(value, one) for one in wanted) for value in values)


def passes(condition, point_id, payload):
    def clause(name):
        value = [] if condition.get(name) is None else condition[name]
        return [holds(one, point_id, payload) for one in (value if isinstance(value, list) else [value])]

    should, some = clause("should"), condition.get("min_should")
    return (
        all(clause("must"))
        and not any(clause("must_not"))
        and (not should or any(should))
        and (not some or sum(holds(c, point_id, payload) for c in some["conditions"]) >= some["min_count"])
    )


@given(st.lists(PAYLOADS, min_size=1, max_size=8), FILTER)
@settings(max_examples=400, deadline=None)
def test_a_filter_chooses_what_plain_python_chooses(payloads, condition):
    expected = {i for i, payload in enumerate(payloads) if passes(condition, i, payload)}
    assert chosen_by_us(payloads, condition) == expected


@pytest.mark.parametrize("beside", ["must", "should", "must_not"])
@pytest.mark.parametrize("conditions", [[], [{"has_id": [0]}]])
def test_more_conditions_wanted_than_there_are_choose_nothing(beside, conditions):
    """Regression: beside a condition on ids the engine left the clause out, so that a delete took these points."""
    filter_ = {beside: {"has_id": [0]}, "min_should": {"conditions": conditions, "min_count": len(conditions) + 1}}
    assert chosen_by_us([{}, {}], filter_) == set()


@given(st.lists(PAYLOADS, min_size=1, max_size=8), FILTER)
@settings(max_examples=400, deadline=None)
def test_a_filter_chooses_what_the_clients_local_mode_chooses(payloads, condition):
    model = models.Filter.model_validate(condition)
    expected = {i for i, payload in enumerate(payloads) if check_filter(model, payload, i, {"": True})}
    assert chosen_by_us(payloads, condition) == expected


def nulled(value):
    """The same filter with one of its values null, at every place in turn."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield value | {name: None}
            yield from (value | {name: inner} for inner in nulled(item))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield [*value[:i], None, *value[i + 1 :]]
            yield from ([*value[:i], inner, *value[i + 1 :]] for inner in nulled(item))


def refused(read, value):
    try:
        read(value)
    except ApiError as error:
        return error.status in (400, 422)
    return False


@given(FILTER)
@settings(max_examples=200, deadline=None)
def test_a_null_is_never_dropped_so_that_a_condition_becomes_another(condition):
    """Regression: {"has_id": null} was a filter without conditions, and a delete by it emptied the collection."""
    for wrong in nulled(condition):
        try:
            models.Filter.model_validate(wrong)
        except ValueError:
            assert refused(parse_filter, wrong), wrong
            assert refused(parse_selector, {"filter": wrong}), wrong


@pytest.mark.parametrize("name", ["has_id", "is_empty", "is_null", "nested", "has_vector", "slice", "key"])
def test_a_delete_by_a_null_condition_is_refused(name):
    for body in ({"filter": {"must": [{name: None}]}}, {"filter": {name: None}}, {"filter": None}, {"points": None}):
        assert refused(parse_selector, body)
