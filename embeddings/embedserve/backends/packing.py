"""Texts of a micro-batch as one row of tokens, without padding.

The linear layers, nine tenths of the work, run over `ids`: all texts' tokens one after the other. Only
attention needs a rectangle: `rows` gathers tokens into (texts, longest), `back` takes the result home. So
padding costs attention alone. To keep the number of distinct shapes small (each new one makes OpenVINO compile
kernels and keep them), the number of tokens, the longest length and the number of texts are rounded up a little.

Pure numpy; knows no inference library.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embedserve.backends.base import TokenIds

TOKEN_STEP = 16  # the tokens of a batch are rounded up to a multiple of this
LENGTH_STEP = 16  # and the rectangle's width to a multiple of this

Feed = dict[str, npt.NDArray[np.int32] | npt.NDArray[np.float32]]


def round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def pack(sequences: Sequence[TokenIds]) -> Feed:
    """The inputs of a packed model (export.py) for n texts with T tokens in all, the longest of length L.

    ids, positions, back: (T',) int32; rows: (n, L') int32; mask: (n, L') float32, 1 where a token is real.
    Filling tokens (T' - T of them) are looked at by nobody.
    """
    lengths = np.array([len(s) for s in sequences])
    total = int(lengths.sum())
    padded = round_up(total, TOKEN_STEP)
    width = round_up(int(lengths.max()), LENGTH_STEP)
    columns = np.arange(width, dtype=np.int32)
    real = columns[None, :] < lengths[:, None]
    starts = (np.cumsum(lengths) - lengths).astype(np.int32)
    text, column = np.nonzero(real)
    ids, positions, back = (np.zeros(padded, dtype=np.int32) for _ in range(3))
    np.concatenate(sequences, out=ids[:total])
    positions[:total] = column
    back[:total] = text * width + column
    rows = np.where(real, starts[:, None] + columns[None, :], 0).astype(np.int32)
    return {
        "ids": ids,
        "positions": positions,
        "rows": rows,
        "back": back,
        "mask": real.astype(np.float32),
    }
