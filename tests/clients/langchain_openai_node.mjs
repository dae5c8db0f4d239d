/** OpenAIEmbeddings: documents and a query */
// /// script
// dependencies = ["@langchain/openai@{version}", "@langchain/core"]
// [tool.works-with]
// client = "@langchain/openai (npm)"
// package = "@langchain/openai"
// servers = ["embeddings"]
// versions = ["1.6.0"]
// ///

import assert from "node:assert/strict";
import { OpenAIEmbeddings } from "@langchain/openai";

const configuration = { baseURL: process.env.EMBEDDING_URL + "/v1" };
const embeddings = new OpenAIEmbeddings({ model: process.env.EMBEDDING_MODEL, apiKey: "local", configuration });
const rows = await embeddings.embedDocuments(["def add(a, b): return a + b", "a cat"]);
assert.deepEqual(rows.map((row) => row.length), [384, 384]);
const query = await embeddings.embedQuery("a function that adds two numbers");
const [near, far] = rows.map((row) => row.reduce((sum, x, i) => sum + x * query[i], 0));
assert.ok(near > far);
