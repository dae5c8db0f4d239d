"""The real JavaScript client, with the calls as the VS Code extensions make them. Needs node and npm."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = """
import { QdrantClient } from "@qdrant/js-client-rest"
const [url, name, apiKey] = process.argv.slice(2)
const client = new QdrantClient({ url, apiKey: apiKey || undefined, headers: { "User-Agent": "Roo-Code" } })
const seen = {}
const marker = "f70bfc2c-6e82-5456-9c20-33b51942337c"
const attempt = async (call) => { try { return await call() } catch (e) { return { status: e.status, data: e.data } } }

seen.missing = await attempt(() => client.getCollection(name))
seen.created = await client.createCollection(name, {
  vectors: { size: 4, distance: "Cosine", on_disk: true },
  hnsw_config: { m: 64, ef_construct: 512, on_disk: true },
})
for (const field of ["type", "pathSegments.0", "pathSegments.1"])
  await client.createPayloadIndex(name, { field_name: field, field_schema: "keyword" })
seen.size = (await client.getCollection(name)).config.params.vectors.size
const point = (n, vector, path) => ({
  id: `0000000${n}-6e82-5456-9c20-33b51942337c`, vector,
  payload: { filePath: path.join("/"), codeChunk: "x", startLine: n, endLine: n + 1, pathSegments: { ...path } },
})
seen.upserted = await client.upsert(name, { wait: true, points: [
  point(1, [1, 0, 0, 0], ["src", "a.ts"]), point(2, [1, 1, 0, 0], ["src", "b.ts"]),
  point(3, [0, 1, 0, 0], ["lib", "c.ts"]),
  { id: marker, vector: new Array(4).fill(0), payload: { type: "metadata", indexing_complete: true } },
] })
const query = async () => (await client.query(name, {
  query: [1, 0, 0, 0],
  filter: { must: [{ key: "pathSegments.0", match: { value: "src" } }],
            must_not: [{ key: "type", match: { value: "metadata" } }] },
  score_threshold: 0.4, limit: 50, params: { hnsw_ef: 128, exact: false },
  with_payload: { include: ["filePath", "codeChunk", "startLine", "endLine", "pathSegments"] },
})).points.map((p) => [p.payload.filePath, Number(p.score.toFixed(4))])
seen.found = await query()
seen.marker = (await client.retrieve(name, { ids: [marker], with_payload: true })).map((p) => p.payload)
const isA = { must: [{ key: "pathSegments.1", match: { value: "a.ts" } }] }
await client.delete(name, { wait: true, filter: { should: [isA] } })
seen.after = await query()
await client.delete(name, { wait: true, filter: { must: [] } })
seen.count = (await client.count(name)).count
seen.wrong = await attempt(() => client.upsert(name, { wait: true, points: [{ id: 1, vector: [1] }] }))
seen.deleted = await client.deleteCollection(name)
seen.exists = await client.collectionExists(name)
console.log(JSON.stringify(seen))
"""


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory):
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("needs node and npm")
    folder = tmp_path_factory.mktemp("js")
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "@qdrant/js-client-rest@1"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if installed.returncode:
        pytest.skip("npm cannot install @qdrant/js-client-rest: " + installed.stderr.strip().splitlines()[-1])
    return folder


def test_the_extensions_client_indexes_searches_and_cleans_up(node_folder: Path, url, name):
    (node_folder / "calls.mjs").write_text(SCRIPT)
    command = ["node", "calls.mjs", url, name, os.environ.get("QDRANT_API_KEY", "")]
    ran = subprocess.run(command, cwd=node_folder, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout.strip().splitlines()[-1])
    assert seen["missing"]["status"] == 404
    assert "doesn't exist" in seen["missing"]["data"]["status"]["error"]
    assert seen["created"] is True
    assert seen["size"] == 4
    assert seen["upserted"]["status"] == "completed"
    assert seen["found"] == [["src/a.ts", 1], ["src/b.ts", 0.7071]]
    assert seen["marker"] == [{"type": "metadata", "indexing_complete": True}]
    assert seen["after"] == [["src/b.ts", 0.7071]]
    assert seen["count"] == 0
    assert seen["wrong"]["status"] == 400
    assert "expected dim: 4, got 1" in seen["wrong"]["data"]["status"]["error"]
    assert seen["deleted"] is True
    assert seen["exists"] == {"exists": False}
