/** OllamaEmbeddings: documents and a query */
// /// script
// dependencies = ["@langchain/ollama@{version}", "@langchain/core"]
// [tool.works-with]
// client = "@langchain/ollama (npm)"
// package = "@langchain/ollama"
// servers = ["embeddings"]
// versions = ["1.3.0"]
// ///

import assert from "node:assert/strict";
import { OllamaEmbeddings } from "@langchain/ollama";

const embeddings = new OllamaEmbeddings({ model: process.env.EMBEDDING_MODEL, baseUrl: process.env.EMBEDDING_URL });
const rows = await embeddings.embedDocuments(["def add(a, b): return a + b", "a cat"]);
assert.deepEqual(rows.map((row) => row.length), [384, 384]);
const query = await embeddings.embedQuery("a function that adds two numbers");
const [near, far] = rows.map((row) => row.reduce((sum, x, i) => sum + x * query[i], 0));
assert.ok(near > far);
