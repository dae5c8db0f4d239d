"""How code is shown to an agent: fences that hold, and as many whole results as fit a budget of tokens.

What does not fit is named, never cut, so that the agent can read those lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CHARACTERS_PER_TOKEN = 3.5  # an estimate for code: the agent's own tokenizer is not known here


def fenced(code: str) -> str:
    """`code` in a fence that is longer than any run of backticks in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"{fence}\n{code}\n{fence}"


def packed(blocks: Iterable[tuple[str, str]], max_tokens: int) -> str:
    """The blocks, (place, text), that fit in about `max_tokens` (0: all), each whole; of the others the place.

    The places come on top of the bound. "" for no block.
    """
    room = max_tokens * CHARACTERS_PER_TOKEN if max_tokens else float("inf")
    shown, left = [], []
    for place, text in blocks:
        if len(text) <= room:
            room -= len(text)
            shown.append(text)
        else:
            left.append(place)
    if left:
        shown.append("Found too, but over max_tokens: " + ", ".join(left))
    return "\n\n".join(shown)
