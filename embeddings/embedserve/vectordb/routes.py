"""The endpoints of Qdrant's REST API: which handler answers, and what is not served.

A handler gets the storage, the call and the decoded body, and returns the `result` or raises ApiError. It knows no
HTTP: gRPC calls the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from embedserve.vectordb import collection_handlers as collections
from embedserve.vectordb import point_handlers as points
from embedserve.vectordb import query_handlers as queries
from embedserve.vectordb import snapshot_handlers as snapshots
from embedserve.vectordb.call import Call
from embedserve.vectordb.storage import Storage

Handler = Callable[[Storage, Call, Any], Awaitable[Any]]

NOT_SERVED = [
    (re.compile(pattern), feature)
    for pattern, feature in {
        r"/(telemetry|cluster/.*|issues|locks|quotas|audit.*)": "service administration",
        r"/snapshots?(/.*)?": "snapshots of the whole storage; make one of each collection",
        r"/collections/[^/]+/shards/.*/snapshots?(/.*)?": "snapshots of a shard; make one of the collection",
        r"/collections/[^/]+/(cluster|shards|optimizations)(/.*)?": "cluster and shard administration",
        r"/collections/[^/]+/points/search/matrix/.*": "distance matrices",
    }.items()
]
_COLLECTION = "/collections/{name}"
_POINTS = _COLLECTION + "/points"
_SNAPSHOTS = _COLLECTION + "/snapshots"
_READS: list[tuple[str, Handler]] = [
    (_POINTS, points.get_points),
    (_POINTS + "/scroll", points.scroll),
    (_POINTS + "/count", points.count),
    (_COLLECTION + "/facet", points.facet),
    (_POINTS + "/query", queries.query),
    (_POINTS + "/query/batch", queries.query_batch),
    (_POINTS + "/query/groups", queries.query_groups),
    (_POINTS + "/search", queries.older(queries.search_as_query)),
    (_POINTS + "/search/batch", queries.older_batch(queries.search_as_query)),
    (_POINTS + "/search/groups", queries.older_groups(queries.search_as_query)),
    (_POINTS + "/recommend", queries.older(queries.recommend_as_query)),
    (_POINTS + "/recommend/batch", queries.older_batch(queries.recommend_as_query)),
    (_POINTS + "/recommend/groups", queries.older_groups(queries.recommend_as_query)),
    (_POINTS + "/discover", queries.older(queries.discover_as_query)),
    (_POINTS + "/discover/batch", queries.older_batch(queries.discover_as_query)),
]
_WRITES: list[tuple[str, str, Handler]] = [
    ("PUT", _COLLECTION, collections.create_collection),
    ("PATCH", _COLLECTION, collections.update_collection),
    ("DELETE", _COLLECTION, collections.delete_collection),
    ("PUT", _COLLECTION + "/index", collections.create_index),
    ("DELETE", _COLLECTION + "/index/{field}", collections.delete_index),
    ("PUT", _COLLECTION + "/vectors/{vector}", collections.create_vector),
    ("DELETE", _COLLECTION + "/vectors/{vector}", collections.delete_vector),
    ("POST", "/collections/aliases", collections.change_aliases),
    ("PUT", _POINTS, points.upsert),
    ("POST", _POINTS + "/delete", points.delete_points),
    ("POST", _POINTS + "/payload", points.set_payload),
    ("PUT", _POINTS + "/payload", points.overwrite_payload),
    ("POST", _POINTS + "/payload/delete", points.delete_payload),
    ("POST", _POINTS + "/payload/clear", points.clear_payload),
    ("PUT", _POINTS + "/vectors", points.update_vectors),
    ("POST", _POINTS + "/vectors/delete", points.delete_vectors),
    ("POST", _POINTS + "/batch", points.batch_update),
    ("POST", _SNAPSHOTS, snapshots.create),
    ("DELETE", _SNAPSHOTS + "/{snapshot}", snapshots.delete),
    ("PUT", _SNAPSHOTS + "/recover", snapshots.recover),
    ("POST", _SNAPSHOTS + "/upload", snapshots.upload),
]
_GETS: list[tuple[str, Handler]] = [
    ("/collections", collections.list_collections),
    ("/aliases", collections.list_aliases),
    ("/cluster", collections.cluster),
    (_COLLECTION + "/exists", collections.collection_exists),
    (_COLLECTION + "/aliases", collections.collection_aliases),
    (_SNAPSHOTS, snapshots.list_all),
    (_SNAPSHOTS + "/{snapshot}", snapshots.download),
    (_COLLECTION, collections.get_collection),
    (_POINTS + "/{id}", points.get_point),
]
ROUTES: list[tuple[str, str, Handler]] = [
    *(("GET", path, handler) for path, handler in _GETS),
    *_WRITES,
    *(("POST", path, handler) for path, handler in _READS),
]


def is_write(method: str, path: str) -> bool:
    """Whether a body sent there changes something; the two kinds have body slots of their own."""
    return method != "POST" or path not in {read for read, _ in _READS}
