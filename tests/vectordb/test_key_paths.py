"""Wherever a request names a field of the payload, a malformed path is the request's error, as with a real Qdrant."""

from __future__ import annotations

import urllib.parse

import pytest

SCROLL, QUERY, KEYS = "/points/scroll", "/points/query", "/points/payload/delete"
PLACES = {
    "an index": lambda path: ("PUT", "/index", {"field_name": path, "field_schema": "keyword"}),
    "match": lambda path: ("POST", SCROLL, {"filter": {"must": [{"key": path, "match": {"value": 1}}]}}),
    "values_count": lambda path: ("POST", SCROLL, {"filter": {"must": [{"key": path, "values_count": {"gt": 0}}]}}),
    "is_empty": lambda path: ("POST", SCROLL, {"filter": {"must": [{"is_empty": {"key": path}}]}}),
    "nested": lambda path: ("POST", SCROLL, {"filter": {"must": [{"nested": {"key": path, "filter": {}}}]}}),
    "group_by": lambda path: ("POST", QUERY + "/groups", {"query": [1, 1, 1, 1], "group_by": path}),
    "facet": lambda path: ("POST", "/facet", {"key": path}),
    "order_by": lambda path: ("POST", SCROLL, {"order_by": path}),
    "with_payload": lambda path: ("POST", SCROLL, {"with_payload": [path]}),
    "keys to delete": lambda path: ("POST", KEYS, {"keys": [path], "points": [1]}),
    "a key to set": lambda path: ("POST", "/points/payload", {"payload": {"x": 1}, "key": path, "points": [1]}),
    "a formula": lambda path: (
        "POST", QUERY, {"prefetch": {"query": [1, 1, 1, 1]}, "query": {"formula": {"sum": ["$score", path]}}}
    ),
    "an operation of a batch": lambda path: (
        "POST", "/points/batch", {"operations": [{"delete_payload": {"keys": [path], "points": [1]}}]}
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_malformed_path_is_a_400(http, collection, place):
    for path in ("", "a[", "a..b", "[0]", '"', "a.", "a[]x", "a b"):
        method, where, body = PLACES[place](path)
        answer = http.request(method, collection + where, json=body)
        assert answer.status_code == 400, (path, answer.text)


@pytest.mark.parametrize("path", ["a[", "a..b", "[0]", "a b"])
def test_a_malformed_path_in_the_address_is_a_400(http, collection, path):
    answer = http.delete(f"{collection}/index/{urllib.parse.quote(path, safe='')}")
    assert answer.status_code == 400, answer.text
