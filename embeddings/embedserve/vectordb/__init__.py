"""The embedded Qdrant: the part of Qdrant's REST API that indexing clients use, on top of Qdrant Edge.

    app.py         HTTP: envelope, bounds on the body, guards
    routes.py      the endpoints; what is not supported answers 501
    body.py        strict reading of JSON: an unknown field is an error, never silently dropped
    schema.py      collection settings and payload indexes: JSON <-> Qdrant Edge
    upload.py      a file in a multipart body, to disk as it comes
    filters.py     filter JSON -> Qdrant Edge
    points.py      point and query JSON -> Qdrant Edge, results -> JSON
    storage.py     the folder: its lock, the collections in it, the housekeeping in the background
    collection.py  one collection: reads, ordered writes, atomic swap to an indexed copy
    files.py       space, durability, files that are replaced whole
    hnsw_build.py  builds the HNSW index of a copy in a child process (`python -m embedserve.vectordb.hnsw_build`)
    threads.py     blocking work off the event loop
    grpc_api/      Qdrant's gRPC API over the same handlers
    errors.py      Qdrant's error kinds and statuses

Qdrant Edge holds Python's global lock during each call, so calls are short and the only long one, building
the index, runs in another process.
"""
