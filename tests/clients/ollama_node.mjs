/** embed with one text and several, embeddings, list, show, and the error of an unknown model */
// /// script
// dependencies = ["ollama@{version}"]
// [tool.works-with]
// client = "ollama (npm)"
// package = "ollama"
// servers = ["embeddings"]
// versions = ["0.6.4", "0.5.18"]
// ///

import assert from "node:assert/strict";
import { Ollama } from "ollama";

const model = process.env.EMBEDDING_MODEL;
const client = new Ollama({ host: process.env.EMBEDDING_URL });
const { embeddings } = await client.embed({ model, input: ["def add(a, b): return a + b", "a cat"] });
assert.deepEqual(embeddings.map((row) => row.length), [384, 384]);
const { embedding } = await client.embeddings({ model: "all-minilm", prompt: "a cat" });
embedding.forEach((x, i) => assert.ok(Math.abs(x - embeddings[1][i]) < 1e-5));
assert.deepEqual((await client.list()).models.map((entry) => entry.name), [model + ":latest"]);
assert.equal((await client.show({ model })).model_info["bert.embedding_length"], 384);
await assert.rejects(client.embed({ model: "no-such-model", input: "a" }), /is not served here/);
