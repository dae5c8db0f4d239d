"""From hidden states to one vector a text. Does not normalise: the engine does."""

from __future__ import annotations

from torch import Tensor


def mean_pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over the real tokens, in float32 whatever the model's dtype.

    hidden [n, L, d], attention_mask [n, L] (0 is padding) -> [n, d] float32. A row without a real token gives
    zeros, not NaN.
    """
    weights = attention_mask.unsqueeze(-1).to(dtype=hidden.float().dtype)  # [n, L, 1]
    return (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1.0)
