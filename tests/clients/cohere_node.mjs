/** embed and rerank of the v2 client, and the error of an unknown model */
// /// script
// dependencies = ["cohere-ai@{version}"]
// [tool.works-with]
// client = "cohere-ai (npm)"
// package = "cohere-ai"
// servers = ["rerank"]
// versions = ["8.1.0", "7.20.0"]
// ///

import assert from "node:assert/strict";
import { CohereClientV2 } from "cohere-ai";

const { EMBEDDING_URL, EMBEDDING_MODEL: model, RERANK_MODEL } = process.env;
const client = new CohereClientV2({ token: "local", environment: EMBEDDING_URL, baseUrl: EMBEDDING_URL });
const texts = ["def add(a, b): return a + b", "a cat", "import os"];
const asked = { model, texts, inputType: "search_document", embeddingTypes: ["float", "int8"] };
const { embeddings } = await client.embed(asked);
assert.deepEqual(embeddings.float.map((row) => row.length), [384, 384, 384]);
assert.equal(embeddings.int8[0].length, 384);
const { results } = await client.rerank({ model: RERANK_MODEL, query: "add", documents: texts, topN: 2 });
assert.equal(results.length, 2);
assert.ok(results[0].relevanceScore >= results[1].relevanceScore);
await assert.rejects(client.embed({ ...asked, model: "no-such-model" }), (error) => error.statusCode === 404);
