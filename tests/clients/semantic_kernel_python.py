"""OpenAITextEmbedding and QdrantCollection: create, write texts that it embeds, get, search with a filter, delete."""
# /// script
# dependencies = ["semantic-kernel[qdrant]", "qdrant-client<1.16"]
# [tool.works-with]
# client = "Semantic Kernel"
# package = "semantic-kernel"
# servers = ["embeddings", "qdrant"]
# ///

import asyncio
import os
import uuid
from dataclasses import dataclass, field
from typing import Annotated

from openai import AsyncOpenAI
from semantic_kernel.connectors.ai.open_ai import OpenAITextEmbedding
from semantic_kernel.connectors.qdrant import QdrantCollection
from semantic_kernel.data.vector import VectorStoreField, vectorstoremodel


@vectorstoremodel
@dataclass
class Snippet:
    code: Annotated[str, VectorStoreField("data", is_full_text_indexed=True)]
    language: Annotated[str, VectorStoreField("data", is_indexed=True)]
    vector: Annotated[
        list[float] | str | None,
        VectorStoreField("vector", dimensions=384, distance_function="cosine_similarity"),
    ] = None
    id: Annotated[str, VectorStoreField("key")] = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self):
        if self.vector is None:
            self.vector = self.code


TEXTS = {
    "def read_json(path): return json.load(open(path))": "python",
    "func Dial(network, address string) (Conn, error)": "go",
    "class Cat(Animal): sound = 'meow'": "python",
}


async def main():
    client = AsyncOpenAI(base_url=os.environ["EMBEDDING_URL"] + "/v1", api_key="local")
    embedding = OpenAITextEmbedding(ai_model_id=os.environ["EMBEDDING_MODEL"], async_client=client)
    assert (await embedding.generate_embeddings(list(TEXTS))).shape == (3, 384)
    async with QdrantCollection(
        record_type=Snippet,
        collection_name="works-with-" + uuid.uuid4().hex[:8],
        embedding_generator=embedding,
        url=os.environ["QDRANT_URL"],
        grpc_port=int(os.environ["QDRANT_GRPC_PORT"]),
    ) as snippets:
        await snippets.ensure_collection_exists()
        assert await snippets.collection_exists()
        keys = await snippets.upsert([Snippet(code, language) for code, language in TEXTS.items()])
        assert len(keys) == 3
        assert (await snippets.get(keys[0])).language == "python"
        found = await snippets.search("load a JSON file", top=2)
        hits = [hit async for hit in found.results]
        assert hits[0].record.code.startswith("def read_json")
        assert hits[0].score > hits[1].score
        # of one condition alone Semantic Kernel 1.45 makes a filter that its own client refuses before it is sent
        only_go = "lambda x: x.language == 'go' and x.language != 'c'"
        found = await snippets.search("load a JSON file", top=3, filter=only_go)
        assert [hit.record.id async for hit in found.results] == [keys[1]]
        found = await snippets.hybrid_search("a pet", top=3, additional_property_name="code")
        assert [hit async for hit in found.results]
        await snippets.delete(keys[:1])
        assert await snippets.get(keys[0]) is None
        await snippets.ensure_collection_deleted()


asyncio.run(main())
