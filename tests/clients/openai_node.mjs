/** embeddings as base64 (its default) and as floats, models, and the error of an unknown model */
// /// script
// dependencies = ["openai@{version}"]
// [tool.works-with]
// client = "openai (npm)"
// package = "openai"
// servers = ["embeddings"]
// versions = ["7.57.0", "6.27.0", "5.12.2", "4.104.0"]
// ///

import assert from "node:assert/strict";
import OpenAI from "openai";

const model = process.env.EMBEDDING_MODEL;
const client = new OpenAI({ baseURL: process.env.EMBEDDING_URL + "/v1", apiKey: "local" });
const input = ["def add(a, b): return a + b", "a cat"];
const answer = await client.embeddings.create({ model, input });
assert.deepEqual(answer.data.map((row) => row.embedding.length), [384, 384]);
assert.ok(Math.abs(Math.hypot(...answer.data[0].embedding) - 1) < 1e-5);
const floats = await client.embeddings.create({ model, input, encoding_format: "float" });
floats.data[0].embedding.forEach((x, i) => assert.ok(Math.abs(x - answer.data[0].embedding[i]) < 1e-6));
const listed = [];
for await (const entry of client.models.list()) listed.push(entry.id);
assert.ok(listed.includes(model));
await assert.rejects(
  client.embeddings.create({ model: "no-such-model", input }),
  (error) => error.status === 404 && /is not served here/.test(error.message),
);
