"""Large JSON in pieces is the same JSON."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedserve.vectordb import big_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=5),
    max_leaves=30,
)


def outcome(read, text):
    try:
        return read(text)
    except orjson.JSONDecodeError:
        return "error"


@given(VALUES, st.integers(0, 2), st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_every_text_reads_as_with_orjson_however_small_the_pieces(value, indent, piece):
    text = json.dumps(value, indent=indent or None).encode("utf-8", "surrogatepass")
    assert outcome(lambda t: big_json.loads(t, piece), text) == outcome(orjson.loads, text)


@given(VALUES, st.integers(0, 200), st.sampled_from([b",", b"]", b"}", b":", b'"', b"[", b"{", b"\\", b" ", b"1", b""]))
@settings(max_examples=500, deadline=None)
def test_a_damaged_text_is_an_error_exactly_where_orjson_says_so(value, at, damage):
    text = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_INDENT_2)
    at %= len(text)
    for damaged in (text[:at] + damage + text[at + 1 :], text[:at] + damage + text[at:]):
        assert outcome(lambda t: big_json.loads(t, 1), damaged) == outcome(orjson.loads, damaged), damaged


@pytest.mark.parametrize(
    "text",
    [b'{"a":[1,,2]}', b'{"a" 1}', b'{"a":1,}', b"[[1],]", b"[1]]", b'{1:{"b":[2]}}', b'{"a":1 "b":2}', b"[{]}", b""],
)
def test_misplaced_punctuation_is_an_error(text):
    with pytest.raises(big_json.JsonError):
        big_json.loads(text, 1)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_what_is_written_in_parts_is_what_orjson_writes(value):
    for shape in (value, [value] * 600, {"points": [value] * 600, "other": value}):
        try:
            whole = orjson.dumps(shape)
        except TypeError:  # a number of more than 64 bits
            return
        assert b"".join(big_json.dumps(shape)) == whole
