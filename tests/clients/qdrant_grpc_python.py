"""prefer_grpc: collections, upsert, filters, query, scroll, payload, delete over gRPC."""
# /// script
# dependencies = ["qdrant-client=={version}"]
# [tool.works-with]
# client = "qdrant-client (gRPC)"
# package = "qdrant-client"
# servers = ["qdrant"]
# versions = ["1.20.0", "1.15.1"]
# ///

import os
import uuid

from qdrant_client import QdrantClient, models

port = int(os.environ["QDRANT_GRPC_PORT"])
client = QdrantClient(url=os.environ["QDRANT_URL"], grpc_port=port, prefer_grpc=True, timeout=30)
name = "works-with-" + uuid.uuid4().hex[:8]
client.create_collection(name, vectors_config=models.VectorParams(size=3, distance=models.Distance.COSINE))
assert client.get_collection(name).config.params.vectors.size == 3
client.create_payload_index(name, "lang", models.PayloadSchemaType.KEYWORD)
points = [
    models.PointStruct(id=i, vector=[1, i / 10, 0], payload={"lang": "py" if i % 2 else "js", "line": i})
    for i in range(20)
]
client.upsert(name, points, wait=True)
python = models.Filter(must=[models.FieldCondition(key="lang", match=models.MatchValue(value="py"))])
found = client.query_points(name, query=[1, 0, 0], query_filter=python, limit=3, with_vectors=True).points
assert [hit.id for hit in found] == [1, 3, 5], found
assert len(found[0].vector) == 3
assert client.count(name, count_filter=python).count == 10
records, offset = client.scroll(name, scroll_filter=python, limit=7)
rest, end = client.scroll(name, scroll_filter=python, limit=7, offset=offset)
assert sorted(record.id for record in records + rest) == list(range(1, 20, 2))
assert end is None
client.set_payload(name, {"seen": True}, points=[1])
assert client.retrieve(name, [1])[0].payload == {"lang": "py", "line": 1, "seen": True}
client.delete(name, points_selector=models.FilterSelector(filter=python), wait=True)
assert client.count(name).count == 10
client.delete_collection(name)
