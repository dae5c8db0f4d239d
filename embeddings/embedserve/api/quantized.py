"""Smaller vectors: int8, uint8 and single bits, made from the engine's float32 unit rows.

Scaling (the same for every request and text, so that vectors of different requests can be compared):

- `int8`, `uint8`: the range [-r, r] with r = min(1, 8 / sqrt(dimension)) is cut into 255 equal steps; values beyond it
  take the end values. A unit vector's components are about 1 / sqrt(dimension), so that eight of them lose nothing in
  practice and a step is 1.6 % of the range's half. uint8 = int8 + 128. Back: x = (int8 + 128.5) * 2 r / 255 - r.
- `ubinary`: one bit a component, 1 where it is positive, packed with the first component in the highest bit; `binary`
  is the same byte minus 128, as an int8 (the offset binary of Cohere's and Voyage's services).

The formulas are those of sentence-transformers' `quantize_embeddings` with `ranges` = [-r, r].
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from embedserve.backends.base import Vectors

OutputType = Literal["float", "int8", "uint8", "binary", "ubinary"]
OUTPUT_TYPES: tuple[str, ...] = get_args(OutputType)
_STEPS = 255
_SPREAD = 8.0


def half_range(dimension: int) -> float:
    """The r of the scaling above."""
    return float(min(1.0, _SPREAD / np.sqrt(dimension)))


def quantized(vectors: Vectors, kind: str) -> npt.NDArray[Any]:
    """vectors: (n, d) float32 unit rows. Returns (n, d) of float32, int8 or uint8, or (n, ceil(d / 8)) packed bits.

    ValueError: `kind` is not one of OUTPUT_TYPES.
    """
    if kind == "float":
        return vectors
    if kind in ("binary", "ubinary"):
        packed = np.packbits(vectors > 0, axis=1)
        return packed if kind == "ubinary" else _offset(packed)
    if kind not in OUTPUT_TYPES:
        raise ValueError(kind)
    low = np.float32(-half_range(vectors.shape[1]))
    step = np.float32(-2 * low / _STEPS)
    levels = np.clip((vectors - low) / step, 0, _STEPS).astype(np.uint8)
    return levels if kind == "uint8" else _offset(levels)


def _offset(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    return (levels.astype(np.int16) - 128).astype(np.int8)
