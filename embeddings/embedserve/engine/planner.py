"""Cutting length-sorted texts into micro-batches: pure functions of lengths and budgets.

Cost of a batch is its padded size, count x longest; of a packed one (backends/packing.py) the sum of its lengths, and
padding costs attention alone. Sorting by length before cutting is what makes padding small: in a client's arrival
order a batch of 16 is two thirds padding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# A shorter neighbour joins a batch that is not yet worth running at this share of the longest text's length.
_CLOSE = 0.85
UNLIMITED = sys.maxsize
_CLOSE_PACKED = 0.5  # attention over padding is cheap: 4 % of jina's work at 300 tokens


def cost(count: int, longest: int, tokens: int, packed: bool) -> int:
    """What a batch of `count` texts, `tokens` tokens in all, costs in tokens."""
    return tokens if packed else count * longest


@dataclass(frozen=True)
class Budget:
    """Bounds of one micro-batch. `fits(count, longest)` is the memory bound. `at_once(length)`: a text of this length
    is long, and runs only while fewer than so many long ones do; UNLIMITED: it is not long.
    """

    tokens: int
    texts: int
    worth: int = 0  # tokens from which on a batch is efficient: padding is no longer accepted beyond it
    packed: bool = False  # linear layers without padding
    fits: Callable[[int, int], bool] = lambda count, longest: True
    at_once: Callable[[int], int] = lambda length: UNLIMITED

    def allows(self, count: int, longest: int, tokens: int) -> bool:
        """One text is always allowed: it cannot be split."""
        small = count <= self.texts and cost(count, longest, tokens, self.packed) <= self.tokens
        return count == 1 or (small and self.fits(count, longest))


def take_around(lengths: Sequence[int], anchor: int, budget: Budget) -> tuple[int, int]:
    """The slice [start, stop) of ascending `lengths` around index `anchor` for one micro-batch.

    First shorter neighbours: close ones while the budget lasts, distant ones only until the batch is `worth`
    running. Then close longer ones, if the budget allows the longer padding.
    """
    close = _CLOSE_PACKED if budget.packed else _CLOSE
    start, stop = anchor, anchor + 1
    longest = tokens = lengths[anchor]
    while start > 0 and budget.allows(stop - start + 1, longest, tokens + lengths[start - 1]):
        if lengths[start - 1] < close * longest and cost(stop - start, longest, tokens, budget.packed) >= budget.worth:
            break
        start -= 1
        tokens += lengths[start]
    while (
        stop < len(lengths)
        and lengths[start] >= close * lengths[stop]
        and budget.allows(stop - start + 1, lengths[stop], tokens + lengths[stop])
    ):
        tokens += lengths[stop]
        stop += 1
    return start, stop


def plan_batches(lengths: Sequence[int], budget: Budget) -> list[list[int]]:
    """All of `lengths` cut into micro-batches of indices, longest first. Every index is in exactly one batch."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    ascending = [lengths[i] for i in order]
    batches = []
    stop = len(order)
    while stop:
        start, _ = take_around(ascending[:stop], stop - 1, budget)
        batches.append(order[start:stop])
        stop = start
    return batches
