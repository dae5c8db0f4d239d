"""CodeRankEmbed: Nomic's model card. A NomicBERT that takes the first token's state; queries want their prefix."""

from __future__ import annotations

from embedserve.models.spec import ModelSpec

CODERANKEMBED = ModelSpec(
    id="CodeRankEmbed",
    aliases=("coderank-embed", "code-rank-embed"),
    hub_id="nomic-ai/CodeRankEmbed",
    revision="3c4b60807d71f79b43f3c4363786d9493691f8b1",
    architecture="nomic_bert",
    dimension=768,
    max_tokens=8192,
    prompts={"query": "Represent this query for searching relevant code: "},
    license="MIT",
    size_bytes=547_000_000,
    good_for="code search from a question in words; queries need their prompt",
    code_retrieval="CodeSearchNet MRR 77.9, CoIR 60.1 (its card)",
)
