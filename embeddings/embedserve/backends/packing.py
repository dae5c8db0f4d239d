"""Texts of a micro-batch as one row of tokens, without padding.

The linear layers, nine tenths of the work, run over `ids`: all texts' tokens one after the other. Only
attention needs a rectangle: `rows` gathers tokens into (texts, longest), `back` takes the result home. So
padding costs attention alone.

The number of tokens and the longest length are rounded up: OpenVINO compiles kernels for each new shape and
keeps them (memory-bank/decisions/backends.md has the figures).

Pure numpy; knows no inference library.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embedserve.backends.base import TokenIds
from embedserve.backends.biases import Biases
from embedserve.models.tokenizer import ID, PROMPT, SECOND

STEP = 16  # small sizes are rounded up to a multiple of this
ALONE_STEP, ALONE_UP_TO = 8, 64  # tokens of a text by itself, a search: of 22 tokens 16s make 32, a third more work

Feed = dict[str, npt.NDArray[np.int32] | npt.NDArray[np.float32]]


def round_up(size: int, *, alone: int = 0) -> int:
    """The next size that batches may have: 16, 32, ... 512, 544, ... 2048, 2112, ... 4096, 4224, ... alone: one text
    may have a multiple of that too, up to 64."""
    if alone and size <= ALONE_UP_TO:
        return -(-size // alone) * alone
    step = STEP if size <= 32 * STEP else max(2 * STEP, (1 << (size - 1).bit_length()) >> 6)
    return -(-size // step) * step


def pack(
    sequences: Sequence[TokenIds],
    *,
    rounded: bool = True,
    alone: int = ALONE_STEP,
    biases: Biases | None = None,
    keep: bool = False,
) -> Feed:
    """The inputs of a packed model for n texts with T tokens in all, the longest of length L.

    ids, positions, types, back: (T',) int32; rows: (n, L') int32; first, last: (n,) int32; mask, pooled, places:
    (n, L') float32, 1 where a token is real, 1 where it is pooled, its place from 1 where it is pooled; `biases` as
    they say; keep: they may be kept for the next texts.
    Filling tokens (T' - T of them) are looked at by nobody. rounded: T' and L' are; otherwise they are T and L.
    alone: the step of a short text by itself.
    """
    lengths = np.array([len(s) for s in sequences])
    total, longest = int(lengths.sum()), int(lengths.max())
    step = alone if len(sequences) == 1 else 0
    # The width is of whole 16s, alone too: in float32 a softmax over 40 numbers is not to the bit that over 48.
    padded, width = (round_up(total, alone=step), round_up(longest)) if rounded else (total, longest)
    columns = np.arange(width, dtype=np.int32)
    real = columns[None, :] < lengths[:, None]
    starts = (np.cumsum(lengths) - lengths).astype(np.int32)
    text, column = np.nonzero(real)
    ids, positions, types, back = (np.zeros(padded, dtype=np.int32) for _ in range(4))
    np.concatenate(sequences, out=ids[:total])
    positions[:total] = column
    back[:total] = text * width + column
    rows = np.where(real, starts[:, None] + columns[None, :], 0).astype(np.int32)
    mask = real.astype(np.float32)
    pooled, first, last = mask, starts, starts + lengths.astype(np.int32) - 1
    if ids[:total].max(initial=0) > ID:  # some ids carry marks
        is_prompt = (ids & PROMPT) != 0
        types[:total] = (ids[:total] & SECOND) != 0
        ids &= ID
        if is_prompt.any():
            pooled = mask * ~is_prompt[rows]
            first = starts + pooled.argmax(1).astype(np.int32)
    return {
        "ids": ids,
        "positions": positions,
        "types": types,
        "rows": rows,
        "back": back,
        "mask": mask,
        "pooled": pooled,
        "places": pooled * (columns + 1).astype(np.float32),
        "first": first,
        "last": last.astype(np.int32),
        **({} if biases is None else biases.feed(real, keep=keep)),
    }
