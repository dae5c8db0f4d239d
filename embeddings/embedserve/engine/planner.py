"""Cutting length-sorted texts into micro-batches: pure functions of lengths and budgets.

Cost of a batch is its padded size, count x longest. Sorting by length before cutting is what makes padding small:
in a client's arrival order a batch of 16 is two thirds padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# A shorter neighbour joins a batch that is not yet worth running at this share of the longest text's length.
_CLOSE = 0.85


@dataclass(frozen=True)
class Budget:
    """Bounds of one micro-batch. `fits(count, longest)` is the memory bound."""

    tokens: int
    texts: int
    worth: int = 0  # padded tokens from which on a batch is efficient: padding is no longer accepted beyond it
    fits: Callable[[int, int], bool] = lambda count, longest: True

    def allows(self, count: int, longest: int) -> bool:
        """One text is always allowed: it cannot be split."""
        return count == 1 or (count <= self.texts and count * longest <= self.tokens and self.fits(count, longest))


def take_around(lengths: Sequence[int], anchor: int, budget: Budget) -> tuple[int, int]:
    """The slice [start, stop) of ascending `lengths` around index `anchor` for one micro-batch.

    First shorter neighbours: close ones while the budget lasts, distant ones only until the batch is `worth`
    running. Then close longer ones, if the budget allows the longer padding.
    """
    start, stop = anchor, anchor + 1
    longest = lengths[anchor]
    while start > 0 and budget.allows(stop - start + 1, longest):
        if lengths[start - 1] < _CLOSE * longest and (stop - start) * longest >= budget.worth:
            break
        start -= 1
    while (
        stop < len(lengths)
        and lengths[start] >= _CLOSE * lengths[stop]
        and budget.allows(stop - start + 1, lengths[stop])
    ):
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
