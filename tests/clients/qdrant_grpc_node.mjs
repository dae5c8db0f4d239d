/** collections, upsert, filters, query, scroll, payload, delete over gRPC (Connect's HTTP/2) */
// /// script
// dependencies = ["@qdrant/js-client-grpc@{version}"]
// [tool.works-with]
// client = "@qdrant/js-client-grpc"
// package = "@qdrant/js-client-grpc"
// servers = ["qdrant"]
// versions = ["1.19.0", "1.15.1"]
// ///
import assert from 'node:assert/strict'
import { QdrantClient } from '@qdrant/js-client-grpc'

const { hostname } = new URL(process.env.QDRANT_URL)
const client = new QdrantClient({ url: `http://${hostname}:${process.env.QDRANT_GRPC_PORT}`, timeout: 30_000 })
const collections = client.api('collections')
const points = client.api('points')
const collectionName = `works-with-js-grpc-${process.pid}`
const id = (num) => ({ pointIdOptions: { case: 'num', value: BigInt(num) } })
const word = (text) => ({ kind: { case: 'stringValue', value: text } })
const ids = (found) => found.map((point) => Number(point.id.pointIdOptions.value))
const python = { must: [{ conditionOneOf: { case: 'field',
  value: { key: 'lang', match: { matchValue: { case: 'keyword', value: 'py' } } } } }] }

assert.match((await client.api('service').healthCheck({})).version, /^\d+\.\d+/)
await collections.create({ collectionName, vectorsConfig: { config: { case: 'params', value: { size: 3n, distance: 1 } } } })
assert.ok((await collections.list({})).collections.some((c) => c.name === collectionName))
await points.createFieldIndex({ collectionName, wait: true, fieldName: 'lang', fieldType: 0 })
await points.upsert({ collectionName, wait: true, points: Array.from({ length: 20 }, (_, i) => ({
  id: id(i),
  vectors: { vectorsOptions: { case: 'vector', value: { data: [1, i / 10, 0] } } },
  payload: { lang: word(i % 2 ? 'py' : 'js'), line: { kind: { case: 'integerValue', value: BigInt(i) } } },
})) })
const found = await points.search({ collectionName, vector: [1, 0, 0], filter: python, limit: 3n })
assert.deepEqual(ids(found.result), [1, 3, 5])
const asked = await points.query({ collectionName, filter: python, limit: 3n, query: { variant: { case: 'nearest',
  value: { variant: { case: 'dense', value: { data: [1, 0, 0] } } } } } })
assert.deepEqual(ids(asked.result), [1, 3, 5])
assert.equal((await points.count({ collectionName, filter: python, exact: true })).result.count, 10n)
const page = await points.scroll({ collectionName, filter: python, limit: 7 })
const rest = await points.scroll({ collectionName, filter: python, limit: 7, offset: page.nextPageOffset })
assert.deepEqual([...ids(page.result), ...ids(rest.result)], [1, 3, 5, 7, 9, 11, 13, 15, 17, 19])
const one = { pointsSelectorOneOf: { case: 'points', value: { ids: [id(1)] } } }
await points.setPayload({ collectionName, wait: true, payload: { seen: { kind: { case: 'boolValue', value: true } } },
  pointsSelector: one })
const got = await points.get({ collectionName, ids: [id(1)], withPayload: { selectorOptions: { case: 'enable', value: true } } })
assert.equal(got.result[0].payload.seen.kind.value, true)
await points.delete({ collectionName, wait: true,
  points: { pointsSelectorOneOf: { case: 'filter', value: python } } })
assert.equal((await points.count({ collectionName, exact: true })).result.count, 10n)
await collections.delete({ collectionName })
process.exit(0) // 1.15 keeps its connection, and so the process, for a quarter of an hour
