/** embed for documents and a query, and rerank with the best two */
// /// script
// dependencies = ["voyageai@{version}"]
// [tool.works-with]
// client = "voyageai (npm)"
// package = "voyageai"
// servers = ["rerank"]
// versions = ["0.4.0"]
// ///

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { VoyageAIClient } = createRequire(import.meta.url)("voyageai"); // its ES module build does not load in Node 20
const { EMBEDDING_URL, EMBEDDING_MODEL: model, RERANK_MODEL } = process.env;
const client = new VoyageAIClient({ apiKey: "local", environment: EMBEDDING_URL + "/v1" });
const documents = ["def add(a, b): return a + b", "a cat", "import os"];
const { data } = await client.embed({ input: documents, model, inputType: "document" });
assert.deepEqual(data.map((row) => row.embedding.length), [384, 384, 384]);
const ranking = await client.rerank({ query: "add", documents, model: RERANK_MODEL, topK: 2 });
assert.equal(ranking.data.length, 2);
assert.ok(ranking.data[0].relevanceScore >= ranking.data[1].relevanceScore);
await assert.rejects(client.embed({ input: documents, model: "no-such-model" }), (error) => error.statusCode === 404);
