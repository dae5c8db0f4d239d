/** embed and embedMany with the OpenAI-compatible provider */
// /// script
// dependencies = ["ai@{version}", "@ai-sdk/openai-compatible"]
// [tool.works-with]
// client = "Vercel AI SDK (npm)"
// package = "ai"
// servers = ["embeddings"]
// versions = ["7.0.173"]
// ///

import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { cosineSimilarity, embed, embedMany } from "ai";

const provider = createOpenAICompatible({ name: "local", baseURL: process.env.EMBEDDING_URL + "/v1", apiKey: "local" });
const model = (provider.embeddingModel ?? provider.textEmbeddingModel)(process.env.EMBEDDING_MODEL);
const values = ["def add(a, b): return a + b", "a cat"];
const { embeddings } = await embedMany({ model, values });
assert.deepEqual(embeddings.map((row) => row.length), [384, 384]);
const { embedding, usage } = await embed({ model, value: "a function that adds two numbers" });
assert.ok(cosineSimilarity(embedding, embeddings[0]) > cosineSimilarity(embedding, embeddings[1]));
assert.ok(usage.tokens > 0);
