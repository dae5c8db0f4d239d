"""Every field of every body in Qdrant's document: it is served or refused by name, and a required one is missed.

The document is that of the real server's REST layer in qdrant-client. The smallest body that leads to each component is
sent with each of the component's fields, and without each required one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedserve.vectordb.routes import ROUTES, is_write
from support.qdrant_document import whole_document

from .conftest import Embedded, embedded_only

Wrap = Callable[[Any], Any]
# What a value has to be so that the collection below can take it; a document says no more than "a string".
BY_FIELD: dict[str, Any] = {
    "collection_name": "there",
    "key": "n",
    "field_name": "n",
    "alias_name": "alias",
    "old_alias_name": "alias",
    "new_alias_name": "alias-2",
    "keys": ["n"],
    "size": 2,
    "vector": [1.0, 2.0],
    "vectors": [[1.0, 2.0]],
    "nearest": [1.0, 2.0],
    "target": 1,
    "ef_construct": 4,
    "full_scan_threshold": 10,
    "vacuum_min_vector_number": 100,
}
BY_COMPONENT: dict[str, Any] = {
    "CreateCollection": {"vectors": {"size": 2, "distance": "Dot"}},
    "CreateFieldIndex": {"field_name": "n", "field_schema": "integer"},
    "SetPayload": {"payload": {"n": 1}, "points": [1]},
    "DeletePayload": {"keys": ["n"], "points": [1]},
    "DeleteVectors": {"vector": [""], "points": [1]},
    "FieldCondition": {"key": "n", "match": {"value": 1}},
    "Slice": {"total": 2, "index": 1},
    "GeoLineString": {"points": [{"lon": x, "lat": y} for x, y in ((0, 0), (0, 1), (1, 1), (0, 0))]},
    "Document": {"text": "n", "model": "qdrant/bm25"},
    "QueryRequest": {"prefetch": {"query": [1.0, 2.0]}, "query": [1.0, 2.0]},
    "Prefetch": {"query": [1.0, 2.0]},
    "RecommendInput": {"positive": [1]},
    "ContextPair": {"positive": 1, "negative": 2},
    "FeedbackItem": {"example": 1, "score": 1.0},
    "DatetimeExpression": {"datetime": "2024-01-01T00:00:00Z"},
    "WithLookup": {"collection": "there"},
}


def fit(method: str, value: Any, key: str = "") -> Any:
    """The body, with what has to agree between two places of it."""
    if isinstance(value, list):
        return [fit(method, one, key) for one in value]
    if not isinstance(value, dict):
        return value
    made = {name: fit(method, item, name) for name, item in value.items()}
    if method == "patch" and "s" in made.get("vectors", {}):
        made["vectors"] = {"": made["vectors"]["s"]}
    if isinstance(made.get("query"), dict) and "text" in made["query"]:
        made = {"query": made["query"], "using": "t"}
    if (made.get("params") or {}).get("idf"):
        made |= {"query": {"indices": [1], "values": [1.0]}, "using": "s"}
    if isinstance(made.get("vector"), dict) and "model" in made["vector"]:
        made["vector"] = {"s": made["vector"]}
    if isinstance(made.get("vectors"), list) and isinstance(made["vectors"][0], dict):
        made["vectors"] = {"s": made["vectors"]}
    return made


@dataclass
class Document:
    schemas: dict[str, Any]

    def resolve(self, schema: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """(name of the component or "", the schema)."""
        name = ""
        while "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            schema = self.schemas[name]
        return name, schema

    def variants(self, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The alternatives but null."""
        name, schema = self.resolve(schema)
        inner = schema.get("anyOf") or schema.get("oneOf")
        if inner is None:
            if schema.get("type") != "null":
                yield name or schema.get("title", ""), schema
            return
        for one in inner:
            yield from self.variants(one)

    def sample(self, schema: dict[str, Any], field: str = "") -> Any:
        """The smallest value."""
        for name, one in self.variants(schema):
            return self._sample(name, one, field)
        return None

    def _sample(self, name: str, schema: dict[str, Any], field: str) -> Any:
        if name in BY_COMPONENT:
            return BY_COMPONENT[name]
        kind = schema.get("type")
        if field in BY_FIELD and kind in ("string", "array", "integer"):
            return BY_FIELD[field]
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        if kind == "object" and "properties" in schema:
            return {key: self.sample(schema["properties"][key], key) for key in schema.get("required", [])}
        if kind == "object":
            return {}
        if kind == "array":
            return [self.sample(schema["items"], field)] if schema.get("items") else []
        return {"string": "n", "integer": 1, "number": 1.0, "boolean": True}.get(kind or "", {})

    def components(self, schema: dict[str, Any], wrap: Wrap, seen: set[str]) -> Iterator[tuple[str, Any, Wrap]]:
        """(name, schema, how a value of it becomes a body) of each object that the schema leads to, once each."""
        todo: list[tuple[dict[str, Any], Wrap]] = [(schema, wrap)]
        while todo:
            found, around = todo.pop(0)
            for name, one in self.variants(found):
                if one.get("type") == "array":
                    todo.append((one.get("items") or {}, lambda v, around=around: around([v])))
                elif isinstance(one.get("additionalProperties"), dict):
                    key = "" if name == "VectorsConfigDiff" else "s"
                    todo.append((one["additionalProperties"], lambda v, key=key, around=around: around({key: v})))
                elif one.get("properties") and name not in seen:
                    seen.add(name)
                    yield name, one, around
                    base = self._sample(name, one, "")
                    for key, inner in one["properties"].items():
                        todo.append((inner, lambda v, k=key, b=base, around=around: around({**b, k: v})))


@dataclass(frozen=True)
class Case:
    """A component at the first place where the document has it."""

    method: str
    path: str
    component: str
    schema: dict[str, Any]
    wrap: Wrap
    base: Any

    def body(self, value: Any) -> Any:
        return fit(self.method, self.wrap(value))


def cases() -> tuple[Document, list[Case]]:
    described = whole_document({(method, path) for method, path, _ in ROUTES}, {("", ""): ["there"]})
    document = Document(described["components"]["schemas"])
    seen: set[str] = set()
    found = []
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                for name, one, wrap in document.components(schema, lambda value: value, seen):
                    found.append(Case(method, path, name, one, wrap, document._sample(name, one, "")))
    return document, found


class Served:
    """An embedded Qdrant with the same few points before each request."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.changed = True

    def __call__(self, case: Case, value: Any) -> httpx.Response:
        if self.changed:
            self._refresh()
        made = (case.method, case.path) == ("put", "/collections/{collection_name}")
        path = case.path.format(collection_name="made" if made else "there", vector_name="v")
        answer = self.http.request(case.method, path, json=case.body(value))
        writes = is_write(case.method.upper(), case.path.replace("collection_name", "name"))
        self.changed = writes and answer.status_code < 400  # what is refused changes nothing
        assert answer.status_code < 500 or answer.status_code == 501, (case.component, case.body(value), answer.text)
        return answer

    def _refresh(self) -> None:
        for name in ("there", "made"):
            self.http.delete(f"/collections/{name}")
        body = {"vectors": {"size": 2, "distance": "Dot"}, "sparse_vectors": {"s": {"modifier": "idf"}}}
        self.http.put("/collections/there", json=body).raise_for_status()
        for field, kind in (("n", "integer"), ("t", {"type": "text", "scoring": True})):
            self.http.put(
                "/collections/there/index", json={"field_name": field, "field_schema": kind}
            ).raise_for_status()
        alias = {"create_alias": {"collection_name": "there", "alias_name": "alias"}}
        self.http.post("/collections/aliases", json={"actions": [alias]}).raise_for_status()
        points = [{"id": i, "vector": [1, i], "payload": {"n": i, "t": "n"}} for i in range(1, 4)]
        self.http.put("/collections/there/points?wait=true", json={"points": points}).raise_for_status()


# The smallest body is refused for what it means, or for what is not here.
NOT_ANSWERED = {
    "StrictModeMultivector": 501,
    "StrictModeSparse": 501,
    "ShardKeyWithFallback": 501,
    "Image": 501,
    "InferenceObject": 501,
    "GeoDistance": 400,
    "GeoDistanceParams": 400,
    "DatetimeKeyExpression": 400,
    "SnapshotRecover": 400,
}

# Stand where a filter may stand too, and `{}` is a filter without conditions, in Qdrant as here.
BESIDE_A_FILTER = ("Condition", "Expression", "GeoDistance")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is large enough: three hundred collections are made, which on a disk is most of the time."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 2 << 30
    with tempfile.TemporaryDirectory(dir=shared if roomy else tmp_path) as folder:
        yield Path(folder) / "storage"


@pytest.mark.slow
@embedded_only
def test_every_field_is_served_or_refused_by_name_and_a_required_one_is_missed(storage: Path) -> None:
    document, all_cases = cases()
    counted: Counter[int] = Counter()
    assert len(all_cases) > 150
    with Embedded(storage) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        served = Served(http)
        for case in all_cases:
            expected = NOT_ANSWERED.get(case.component, 200)
            assert served(case, case.base).status_code == expected, (case.component, case.body(case.base))
            for field, schema in case.schema["properties"].items():
                answer = served(case, {**case.base, field: document.sample(schema, field)})
                counted[answer.status_code] += 1
                assert "unknown field" not in answer.text, (case.component, field, answer.text)
                if answer.status_code == 501:
                    assert "the embedded Qdrant has no " in answer.text
            for field in case.schema.get("required", []):
                body = {key: value for key, value in case.base.items() if key != field}
                if case.body(body) != case.body({}) or not case.component.endswith(BESIDE_A_FILTER):
                    answer = served(case, body)
                    assert answer.status_code in (400, 422, 501), (case.component, field, case.body(body), answer.text)
    assert counted[200] > 300
    print(f"{len(all_cases)} components: {dict(counted)}")
