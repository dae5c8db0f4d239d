"""The document at /openapi.json: what a route says of its bodies, and each API's own shape of errors.

    @router.post("/decode", **described(body=object_of("ids", ids=...), answer=array(STRING)))

FastAPI makes the rest of it. It knows no route.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute, Route

from embedserve.api.declare import traits_of
from embedserve.api.error_shapes import SCHEMAS

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
ANY: Schema = {}
JSON = "application/json"


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def one_of(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def object_of(*required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


TEXTS = one_of(STRING, array(STRING))
VECTOR = array(NUMBER)
VECTORS = array(VECTOR)
MODEL: Schema = {"type": "string", "description": "Left out: the default model"}
TRUNCATE: Schema = {"type": "boolean", "description": "Left out: as EMBEDDING_OVERLONG says"}


def described(*, answer: Schema, body: Schema | None = None) -> dict[str, Any]:
    """Arguments of a router's decorator."""
    success = {"description": "Success", "content": {JSON: {"schema": answer}}}
    extra: dict[str, Any] = {"responses": {"200": success}}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": {JSON: {"schema": _with_nulls(body)}}}
    return {"openapi_extra": extra}


def _with_nulls(body: Schema) -> Schema:
    """null is no value, wherever a value may be left out."""
    if "oneOf" in body:
        return {**body, "oneOf": [_with_nulls(one) for one in body["oneOf"]]}
    optional = {name: one for name, one in body.get("properties", {}).items() if name not in body["required"]}
    return {**body, "properties": {**body["properties"], **{n: one_of(s, NULL) for n, s in optional.items()}}}


def document(app: FastAPI, routes: Iterable[BaseRoute]) -> Callable[[], Schema]:
    """For `app.openapi`: made once. Every operation has the errors of the API it belongs to; FastAPI's own 422 is
    never sent."""
    shapes = {
        (method.lower(), getattr(route, "path", "").replace(":path}", "}")): traits_of(route.endpoint).errors
        for route in routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }

    def made() -> Schema:
        if app.openapi_schema is None:
            whole = get_openapi(title=app.title, version=app.version, routes=app.routes)
            for path, operations in whole["paths"].items():
                for method, operation in operations.items():
                    operation["responses"].pop("422", None)
                    operation["responses"] |= _errors(SCHEMAS[shapes[method, path]])
            whole.get("components", {}).pop("schemas", None)
            app.openapi_schema = whole
        return app.openapi_schema

    return made


def _errors(schema: Schema) -> Schema:
    said = {"4XX": "The request is wrong; the message says what", "5XX": "Not now (503, with Retry-After), or a fault"}
    return {status: {"description": what, "content": {JSON: {"schema": schema}}} for status, what in said.items()}
