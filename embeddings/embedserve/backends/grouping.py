"""Texts of a micro-batch in groups of about equal length, for libraries that need padded rectangles."""

from __future__ import annotations

from collections.abc import Sequence

WASTE = 1.125  # a group's rectangle may be this many times its real tokens...


def groups(lengths: Sequence[int], least_tokens: int) -> list[list[int]]:
    """Indices, longest first. A rectangle within `least_tokens` is not cut further, however uneven."""
    found: list[list[int]] = []
    real = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if found:
            padded = (len(found[-1]) + 1) * lengths[found[-1][0]]
            if padded <= max(least_tokens, WASTE * (real + lengths[i])):
                found[-1].append(i)
                real += lengths[i]
                continue
        found.append([i])
        real = lengths[i]
    return found
