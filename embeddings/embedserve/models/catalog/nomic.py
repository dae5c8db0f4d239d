"""nomic-embed-text-v1.5: Nomic's model card and config.json. Every text wants one of its prompts."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec

NOMIC_EMBED_TEXT = ModelSpec(
    id="nomic-embed-text-v1.5",
    aliases=("nomic-embed-text", "nomic-embed-text:v1.5"),
    hub_id="nomic-ai/nomic-embed-text-v1.5",
    revision="e9b6763023c676ca8431644204f50c2b100d9aab",
    architecture="nomic_bert",
    dimension=768,
    max_tokens=8192,
    matryoshka=(768, 512, 256, 128, 64),
    centred=True,  # its card: a layer norm of the vector before it is cut
    prompts={
        "search_query": "search_query: ",
        "search_document": "search_document: ",
        "classification": "classification: ",
        "clustering": "clustering: ",
    },
    license="Apache-2.0",
    size_bytes=547_000_000,
    good_for="general English text; a prompt before every text, queries and documents alike",
)
