"""Groups: the best hits of a query for each value of a payload field.

Exact by growing: the query is asked for more and more hits until the first `limit` values that turn up have their
`group_size` hits each, or there are no more. A point with several values is in several groups; one without a value
that can be an id of a group (a string or an integer) is in none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields
from embedserve.vectordb.errors import ApiError, format_error
from embedserve.vectordb.field_conditions import key_path
from embedserve.vectordb.ids import PointId, parse_id, plain_id
from embedserve.vectordb.points import Lookup, parse_payload_selector, parse_with_vector, scored_json
from embedserve.vectordb.queries import Query, Vectors
from embedserve.vectordb.vectors import Space

_FIRST = 256


@dataclass(frozen=True)
class GroupLookup:
    """Records of another collection whose ids are the groups'."""

    collection: str
    fields: Fields

    def of(self, ids: list[Any], space: Space) -> Lookup:
        valid: list[PointId] = []
        for value in ids:
            try:
                valid.append(parse_id(value))
            except ApiError:
                continue
        payload = parse_payload_selector(self.fields.take("with_payload"), True)
        lookup = Lookup(valid, payload, parse_with_vector(self.fields, space))
        self.fields.done()
        return lookup


@dataclass(frozen=True)
class Groups:
    query: Query
    key: str
    size: int
    limit: int
    lookup: GroupLookup | None

    def read(self, shard: edge.EdgeShard, vectors: Vectors) -> list[dict[str, Any]]:
        """[{"id", "hits"}], the group with the best hit first."""
        wanted = max(_FIRST, 2 * self.limit * self.size)
        while True:
            selector = edge.PayloadSelector.Include([self.key])
            request = self.query.request(vectors, limit=wanted, with_payload=selector, with_vector=False)
            points = shard.query(request)
            groups, complete = self._gather(points)
            if complete or len(points) < wanted:
                return self._shown(shard, groups)
            wanted *= 4

    def _gather(self, points: list[Any]) -> tuple[dict[Any, list[Any]], bool]:
        groups: dict[Any, list[Any]] = {}
        for point in points:
            for value in dict.fromkeys(_values(point.payload, self.key)):
                if value not in groups and len(groups) < self.limit:
                    groups[value] = []
                if value in groups and len(groups[value]) < self.size:
                    groups[value].append(point)
        full = len(groups) == self.limit and all(len(hits) == self.size for hits in groups.values())
        return groups, full

    def _shown(self, shard: edge.EdgeShard, groups: dict[Any, list[Any]]) -> list[dict[str, Any]]:
        ids = list({plain_id(point.id): None for hits in groups.values() for point in hits})
        options = self.query.options
        lookup = Lookup(ids, options["with_payload"], options["with_vector"])
        records = {str(record["id"]): record for record in lookup.read(shard)}
        shown = []
        for value, hits in groups.items():
            found = []
            for point in hits:
                plain = {name: item for name, item in scored_json(point).items() if name != "payload"}
                found.append(plain | records.get(str(point.id), {}))
            shown.append({"id": value, "hits": found})
        return shown


def parse_groups(body: Any, space: Space, parse: Callable[..., Query]) -> Groups:
    """A query's body with `group_by`, `group_size` (3) and `limit` (10, of groups)."""
    fields = Fields(body, "body")
    key = key_path(fields.need("group_by", str), "group_by")
    size, limit = fields.count("group_size", 3, 1), fields.count("limit", 10, 1)
    with_lookup = fields.take("with_lookup")
    if fields.take("offset") is not None:
        raise format_error("body: unknown field `offset`")
    own = ("group_by", "group_size", "limit", "with_lookup", "offset")
    rest = {name: item for name, item in body.items() if name not in own}
    return Groups(parse(rest, space), key, size, limit, _lookup(with_lookup))


def _lookup(value: Any) -> GroupLookup | None:
    if value is None:
        return None
    fields = Fields({"collection": value} if isinstance(value, str) else value, "with_lookup")
    return GroupLookup(fields.need("collection", str), fields)


def _values(payload: Any, key: str) -> list[Any]:
    """The strings and integers at the path."""
    found = [payload or {}]
    for part in key.split("."):
        name, is_list = part.removesuffix("[]"), part.endswith("[]")
        found = [item[name] for item in found if isinstance(item, dict) and name in item]
        if is_list:
            found = [inner for item in found if isinstance(item, list) for inner in item]
    flat = [inner for item in found for inner in (item if isinstance(item, list) else [item])]
    return [item for item in flat if isinstance(item, str | int) and not isinstance(item, bool)]
