"""Updates: request JSON -> changes that `Collection.apply` makes in order, each on points by id or by filter.

    PUT points, POST points/delete, POST|PUT points/payload, POST points/payload/delete|clear,
    PUT points/vectors, POST points/vectors/delete, POST points/batch (any of them in one request)

All of a request is parsed before any of it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields, expect, one_of
from embedserve.vectordb.errors import format_error, unsupported
from embedserve.vectordb.field_conditions import checked
from embedserve.vectordb.filters import parse_filter
from embedserve.vectordb.ids import PointId, parse_id, plain_id
from embedserve.vectordb.points import SHARD_KEY, Selector, check_payload, parse_rows, parse_selector, take_selector
from embedserve.vectordb.vectors import Space, parse_point_vectors

Operation = edge.UpdateOperation
_UPDATE_BATCH = 256  # points in one call of Qdrant Edge, which holds Python's lock


@dataclass(frozen=True)
class Change:
    """`make` gives Qdrant Edge's operations for the ids that the selector means.

    `existing`: the ids must be there already, else nothing is done and the answer is 404. `grows`: needs disk.
    """

    selector: Selector
    make: Callable[[list[PointId]], list[Operation]]
    existing: bool = False
    grows: bool = True


def parse_upsert(body: Any, space: Space, where: str = "body") -> Change:
    """PUT points: {"points": [{id, vector, payload}]} or {"batch": {ids, vectors, payloads}}."""
    fields = Fields(body, where)
    fields.refuse(**SHARD_KEY)
    condition = parse_filter(fields.take("update_filter"), "update_filter")
    mode = one_of(fields.take("update_mode", str, "upsert"), _MODES, "update_mode")
    points = parse_rows(fields, space)
    fields.done()
    parts = [points[start : start + _UPDATE_BATCH] for start in range(0, len(points), _UPDATE_BATCH)]
    operations = [Operation.upsert_points(part, condition, mode) for part in parts]
    return Change([plain_id(point.id) for point in points], lambda _ids: operations)


_MODES = {
    "upsert": edge.UpdateMode.Upsert,
    "insert_only": edge.UpdateMode.InsertOnly,
    "update_only": edge.UpdateMode.UpdateOnly,
}


def parse_delete(body: Any, _space: Space, where: str = "body") -> Change:
    return Change(parse_selector(body, where), lambda ids: [Operation.delete_points([*ids])], grows=False)


def parse_set_payload(body: Any, _space: Space, where: str = "body") -> Change:
    return _payload(body, where, Operation.set_payload)


def parse_overwrite_payload(body: Any, _space: Space, where: str = "body") -> Change:
    return _payload(body, where, Operation.overwrite_payload)


def _payload(body: Any, where: str, operation: Any) -> Change:
    fields = Fields(body, where)
    payload = check_payload(fields.need("payload"), f"{where}.payload")
    key, selector = fields.take("key", str), take_selector(fields, where)
    fields.done()
    checked(lambda: operation([], payload, key), where)
    return Change(selector, lambda ids: [operation([*ids], payload, key)], existing=True)


def parse_delete_payload(body: Any, _space: Space, where: str = "body") -> Change:
    fields = Fields(body, where)
    keys = [expect(key, str, f"{where}.keys") for key in fields.need("keys", list)]
    selector = take_selector(fields, where)
    fields.done()
    checked(lambda: Operation.delete_payload([], keys), where)
    return Change(selector, lambda ids: [Operation.delete_payload([*ids], keys)], existing=True, grows=False)


def parse_clear_payload(body: Any, _space: Space, where: str = "body") -> Change:
    selector = parse_selector(body, where)
    return Change(selector, lambda ids: [Operation.clear_payload([*ids])], existing=True, grows=False)


def parse_update_vectors(body: Any, space: Space, where: str = "body") -> Change:
    """PUT points/vectors: {"points": [{id, vector}]}; the point's other vectors and its payload stay."""
    fields = Fields(body, where)
    fields.refuse(**SHARD_KEY)
    condition = parse_filter(fields.take("update_filter"), "update_filter")
    items = []
    for i, item in enumerate(fields.need("points", list)):
        inner = Fields(item, f"points[{i}]")
        vector = parse_point_vectors(space, inner.need("vector"), f"points[{i}].vector")
        items.append(edge.PointVectors(parse_id(inner.need("id")), vector))
        inner.done()
    fields.done()
    ids = [plain_id(item.id) for item in items]
    return Change(ids, lambda _ids: [Operation.update_vectors(items, condition)] if items else [], existing=True)


def parse_delete_vectors(body: Any, space: Space, where: str = "body") -> Change:
    fields = Fields(body, where)
    names = [expect(name, str, f"{where}.vector") for name in fields.need("vector", list)]
    selector = take_selector(fields, where)
    fields.done()
    if not names:
        raise format_error(f"{where}.vector: must not be empty")
    for name in names:
        space.check_name(name)
    return Change(selector, lambda ids: [Operation.delete_vectors([*ids], names)], existing=True, grows=False)


_OPERATIONS: dict[str, Callable[[Any, Space, str], Change]] = {
    "upsert": parse_upsert,
    "delete": parse_delete,
    "set_payload": parse_set_payload,
    "overwrite_payload": parse_overwrite_payload,
    "delete_payload": parse_delete_payload,
    "clear_payload": parse_clear_payload,
    "update_vectors": parse_update_vectors,
    "delete_vectors": parse_delete_vectors,
}


def parse_batch(body: Any, space: Space) -> list[Change]:
    """POST points/batch: {"operations": [{"upsert": {..}}, {"delete": {..}}, ..]}, made in order."""
    fields = Fields(body, "body")
    operations = fields.need("operations", list)
    fields.done()
    changes = []
    for i, operation in enumerate(operations):
        where = f"operations[{i}]"
        if len(expect(operation, dict, where)) != 1:
            raise format_error(f"{where}: expected one operation")
        ((name, content),) = operation.items()
        if name not in _OPERATIONS:
            raise unsupported(f"batch operation `{str(name)[:50]}`")
        changes.append(_OPERATIONS[name](content, space, f"{where}.{name}"))
    return changes
