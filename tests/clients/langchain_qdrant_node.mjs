/** QdrantVectorStore: documents, a search by meaning, a filter, delete */
// /// script
// dependencies = ["@langchain/qdrant@{version}", "@langchain/openai", "@langchain/core"]
// [tool.works-with]
// client = "@langchain/qdrant (npm)"
// package = "@langchain/qdrant"
// servers = ["embeddings", "qdrant"]
// versions = ["1.0.3"]
// ///

import assert from "node:assert/strict";
import { Document } from "@langchain/core/documents";
import { OpenAIEmbeddings } from "@langchain/openai";
import { QdrantVectorStore } from "@langchain/qdrant";

const configuration = { baseURL: process.env.EMBEDDING_URL + "/v1" };
const embeddings = new OpenAIEmbeddings({ model: process.env.EMBEDDING_MODEL, apiKey: "local", configuration });
const documents = ["def add(a, b): return a + b", "SELECT name FROM users", "a cat sleeps"].map(
  (pageContent, n) => new Document({ pageContent, metadata: { n } }),
);
const options = { url: process.env.QDRANT_URL, collectionName: "langchain-js-" + process.pid };
const store = await QdrantVectorStore.fromDocuments(documents, embeddings, options);
const [near] = await store.similaritySearch("a function that adds two numbers", 1);
assert.equal(near.metadata.n, 0);
const filter = { must: [{ key: "metadata.n", match: { value: 2 } }] };
const [[only, score], ...rest] = await store.similaritySearchWithScore("add", 3, filter);
assert.equal(only.pageContent, "a cat sleeps");
assert.ok(score < 1 && rest.length === 0);
await store.delete({ filter });
assert.equal((await store.similaritySearch("a cat", 3)).length, 2);
await store.client.deleteCollection(options.collectionName);
