"""Its Qdrant store: named and sparse collection, insert, search and list with filters, update, delete."""
# /// script
# dependencies = ["mem0ai", "qdrant-client"]
# [tool.works-with]
# client = "mem0 (Qdrant)"
# package = "mem0ai"
# servers = ["qdrant"]
# ///

import os
import uuid

from mem0.vector_stores.qdrant import Qdrant

store = Qdrant("works-with-" + uuid.uuid4().hex[:8], 3, url=os.environ["QDRANT_URL"])
assert store.collection_name in [item.name for item in store.list_cols().collections]
ids = [str(uuid.uuid4()) for _ in range(4)]
vectors = [[1.0, n / 10, 0.0] for n in range(4)]
payloads = [{"data": f"memory {n}", "user_id": "ann" if n % 2 else "bob", "n": n} for n in range(4)]
store.insert(vectors, payloads, ids)
found = store.search("memory", [1.0, 0.0, 0.0], top_k=2, filters={"user_id": "ann"})
assert [hit.payload["n"] for hit in found] == [1, 3], found
listed = store.list(filters={"user_id": "bob"}, top_k=10)[0]
assert sorted(record.payload["n"] for record in listed) == [0, 2]
store.update(ids[0], vector=[0.0, 0.0, 1.0], payload={"data": "new", "user_id": "bob", "n": 9})
assert store.get(ids[0]).payload["n"] == 9
assert store.search("new", [0.0, 0.0, 1.0], top_k=1)[0].id == ids[0]
store.delete(ids[1])
assert store.get(ids[1]) is None
assert store.col_info().points_count == 3
store.delete_col()
