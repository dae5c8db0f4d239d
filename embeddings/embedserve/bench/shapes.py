"""Floating-point operations of one text, from the model's shape: the work a matrix-product rate is compared to.

A multiply and an add are two operations. Linear layers: 2 x their parameters for each token. Attention: q.k
and p.v over the whole text, 4 x width x length for each token and layer. Lookups, norms, softmax are nothing
in comparison. Only real tokens count: what a server spends on padding is its loss.

The server states tokens per request, not per text; they are shared out among its texts by their characters,
which matters for the small attention term alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    layers: int
    width: int
    inner: int
    gated: bool  # GEGLU: the up projection is twice as wide
    max_tokens: int

    @property
    def per_token(self) -> int:
        """Operations of the linear layers."""
        up = 2 if self.gated else 1
        return 2 * self.layers * (4 * self.width**2 + (up + 1) * self.width * self.inner)

    @property
    def per_token_and_length(self) -> int:
        """Operations of the attention, for each token of the text."""
        return 4 * self.layers * self.width

    def operations(self, tokens: int, characters: Sequence[int]) -> float:
        """Of one request of `tokens` tokens in texts of so many characters."""
        each = tokens / max(1, sum(characters))
        squares = sum(min(self.max_tokens, each * n) ** 2 for n in characters)
        return self.per_token * tokens + self.per_token_and_length * squares


SHAPES = {
    "jina-code-v2": Shape(layers=12, width=768, inner=3072, gated=True, max_tokens=8192),
    "all-MiniLM-L6-v2": Shape(layers=6, width=384, inner=1536, gated=False, max_tokens=256),
}


def shape_of(model: str) -> Shape | None:
    """By the catalog's id, or from a folder's config.json; None when neither tells."""
    if model in SHAPES:
        return SHAPES[model]
    try:
        config = json.loads((Path(model).expanduser() / "config.json").read_text(encoding="utf-8"))
        return Shape(
            layers=int(config["num_hidden_layers"]),
            width=int(config["hidden_size"]),
            inner=int(config["intermediate_size"]),
            gated=config.get("feed_forward_type") == "geglu",
            max_tokens=int(config["max_position_embeddings"]),
        )
    except (OSError, ValueError, KeyError):
        return None
