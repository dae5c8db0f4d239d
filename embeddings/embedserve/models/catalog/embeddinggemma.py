"""EmbeddingGemma-300M: Google's model card. float16 is wrong for it (architectures/gemma3.py)."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec, Published, Ranking

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
    license="Gemma Terms of Use",
    size_bytes=1_230_000_000,
    good_for="text in 100 languages and code, with a prompt for each task",
    code_retrieval="MTEB Code 68.8 (its card)",
    published=(
        Published("title: none | text: hello world", (-0.08181356, 0.0214127, 0.05120273, -0.03690156, -0.0254504)),
        Published(
            "task: search result | query: hello world",
            (-0.22990295, 0.03311195, 0.04290345, -0.03558498, -0.01399477),
        ),
    ),
    rankings=(
        Ranking(
            "task: search result | query: Which planet is known as the Red Planet?",
            (
                "title: none | text: Venus is often called Earth's twin because of its similar size and proximity.",
                "title: none | text: Mars, known for its reddish appearance, is often referred to as the Red Planet.",
                "title: none | text: Jupiter, the largest planet in our solar system, has a prominent red spot.",
                "title: none | text: Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
            ),
            (0.3011, 0.6359, 0.4930, 0.4889),
        ),
    ),
    gated=True,
)
