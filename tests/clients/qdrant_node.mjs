/** Collections, upsert, filters, query, scroll, payload, delete over REST. */
// /// script
// dependencies = ["@qdrant/js-client-rest@{version}"]
// [tool.works-with]
// client = "@qdrant/js-client-rest"
// package = "@qdrant/js-client-rest"
// servers = ["qdrant"]
// versions = ["1.19.0", "1.13.0"]
// ///
import assert from 'node:assert/strict'
import { QdrantClient } from '@qdrant/js-client-rest'

const client = new QdrantClient({ url: process.env.QDRANT_URL })
const name = `works-with-js-${process.pid}`
await client.createCollection(name, { vectors: { size: 3, distance: 'Cosine' } })
assert.ok((await client.getCollections()).collections.some((c) => c.name === name))
await client.createPayloadIndex(name, { field_name: 'lang', field_schema: 'keyword', wait: true })
const points = Array.from({ length: 20 }, (_, i) => ({
  id: i, vector: [1, i / 10, 0], payload: { lang: i % 2 ? 'py' : 'js', line: i },
}))
await client.upsert(name, { wait: true, points })
const filter = { must: [{ key: 'lang', match: { value: 'py' } }] }
const found = await client.query(name, { query: [1, 0, 0], filter, limit: 3, with_payload: true })
assert.deepEqual(found.points.map((p) => p.id), [1, 3, 5])
assert.equal((await client.count(name, { filter, exact: true })).count, 10)
const page = await client.scroll(name, { filter, limit: 7 })
const rest = await client.scroll(name, { filter, limit: 7, offset: page.next_page_offset })
assert.equal(page.points.length + rest.points.length, 10)
await client.setPayload(name, { payload: { seen: true }, points: [1], wait: true })
assert.equal((await client.retrieve(name, { ids: [1] }))[0].payload.seen, true)
await client.delete(name, { wait: true, filter })
assert.equal((await client.getCollection(name)).points_count, 10)
await client.deleteCollection(name)
