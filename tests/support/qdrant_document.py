"""Qdrant's REST API as an OpenAPI document, taken from qdrant-client: its REST layer is generated from the real one.

Each `_build_for_…` method there names a method, a path, the model of the answer, and by its arguments the parameters
and the model of the body. Knows nothing of embedserve.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter
from qdrant_client.http import models
from qdrant_client.http.api import aliases_api, collections_api, indexes_api, points_api, search_api, snapshots_api

_REFERENCE = "#/components/schemas/{model}"
_APIS = (
    aliases_api._AliasesApi,
    collections_api._CollectionsApi,
    indexes_api._IndexesApi,
    points_api._PointsApi,
    search_api._SearchApi,
    snapshots_api._SnapshotsApi,
)


class _Recorder:
    """In the place of the client: keeps what would be sent."""

    def request(self, **sent: Any) -> dict[str, Any]:
        return sent


def _operations() -> Iterator[tuple[str, str, type, dict[str, Any]]]:
    """(method, path, model of the answer, type of each argument)."""
    for api in _APIS:
        made = api(_Recorder())
        for name, build in inspect.getmembers(made, inspect.ismethod):
            if not name.startswith("_build_for_"):
                continue
            types = {arg: given.annotation for arg, given in inspect.signature(build).parameters.items()}
            needed = [arg for arg, given in inspect.signature(build).parameters.items() if given.default is given.empty]
            sent = build(**dict.fromkeys(needed, "x"))
            yield sent["method"], sent["url"], sent["type_"], types


def _unnamed(path: str) -> str:
    return re.sub(r"{\w+}", "{}", path)


def _is_body(annotation: Any) -> bool:
    kinds = get_args(annotation) or (annotation,)
    return any(inspect.isclass(kind) and issubclass(kind, BaseModel) for kind in kinds)


def _shorten(paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    """A prefetch in a prefetch, and formulas: schemathesis needs minutes for one request of a schema that holds itself
    in so many ways."""
    formula = {"$ref": _REFERENCE.format(model="FormulaQuery")}
    todo: list[Any] = [paths, schemas]
    while todo:
        one = todo.pop()
        if isinstance(one, list) and formula in one:
            one.remove(formula)
        todo += one.values() if isinstance(one, dict) else one if isinstance(one, list) else []
    del schemas["Prefetch"]["properties"]["prefetch"]


def document(served: set[tuple[str, str]], collections: dict[tuple[str, str], list[str]]) -> dict[str, Any]:
    """As `whole_document`, without the parts that schemathesis cannot draw from."""
    made = whole_document(served, collections)
    _shorten(made["paths"], made["components"]["schemas"])
    return made


def whole_document(served: set[tuple[str, str]], collections: dict[tuple[str, str], list[str]]) -> dict[str, Any]:
    """The document of `served`, pairs of a method and a path whose parameters may have any name. collections: the names
    that requests to an operation may have; those of ("", "") where nothing is said."""
    served = {(method, _unnamed(path)) for method, path in served}
    schemas: dict[str, Any] = {}

    def schema(of: Any) -> dict[str, Any]:
        made = TypeAdapter(of).json_schema(ref_template=_REFERENCE, by_alias=True)
        schemas.update(made.pop("$defs", {}))
        return made

    def content(of: Any) -> dict[str, Any]:
        return {"application/json": {"schema": schema(of)}}

    paths: dict[str, Any] = {}
    for method, path, answer, types in _operations():
        if (method, _unnamed(path)) not in served:
            continue
        in_path = re.findall(r"{(\w+)}", path)
        named = {"type": "string", "enum": collections.get((method, path), collections["", ""])}
        bodies = [kind for name, kind in types.items() if name not in in_path and _is_body(kind)]
        parameters = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": named if name == "collection_name" else schema(types[name]),
            }
            for name in in_path
        ] + [
            {"name": name, "in": "query", "schema": schema(types[name])}
            for name in ("wait", "ordering", "timeout")
            if name in types
        ]
        refused = {"description": "refused", "content": content(models.ErrorResponse)}
        operation: dict[str, Any] = {
            "parameters": parameters,
            "responses": {
                "200": {"description": "done", "content": content(answer)},
                **dict.fromkeys(("4XX", "501"), refused),
            },
        }
        if bodies:
            operation["requestBody"] = {"required": True, "content": content(bodies[0])}
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Qdrant", "version": "of qdrant-client"},
        "paths": paths,
        "components": {"schemas": schemas},
    }
