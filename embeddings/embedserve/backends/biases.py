"""What a score of the attention gets for the distance of its two tokens, where the graph takes that as an input: ALiBi,
windows.

For one text of 8,192 tokens it has 256 MiB and takes 0.1 s, so long texts in a row share one. A graph that makes it by
itself holds it twice in each stream.

Pure numpy; knows no inference library.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedserve.models.ops import PADDING, Array, Relative


@dataclass
class Biases:
    """Of one encoder. What was last made to be kept serves every text of its length, until `forget`. Thread-safe."""

    relatives: Sequence[Relative]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: tuple[tuple[int, int], dict[str, Array]] | None = None

    def feed(self, real: npt.NDArray[np.bool_], *, keep: bool) -> dict[str, Array]:
        """Each under its name, (n or 1, 1, L, L) float32. real: (n, L)."""
        if not keep or len(real) > 1 or not self.relatives:
            return self._made(real)
        key = (int(real.sum()), real.shape[1])
        with self._lock:
            if self._kept is None or self._kept[0] != key:
                self._kept = None  # before the next one is there
                self._kept = (key, self._made(real))
            return self._kept[1]

    def forget(self) -> None:
        self._kept = None

    def _made(self, real: npt.NDArray[np.bool_]) -> dict[str, Array]:
        return {relative.name: _seen(relative, real) for relative in self.relatives}


def _seen(bias: Relative, real: npt.NDArray[np.bool_]) -> Array:
    """What each token sees of its own text, (n or 1, 1, L, L): values[j - i], and PADDING where no token j is. real:
    (n, L)."""
    assert bias.values is not None
    width = real.shape[1]
    middle = bias.values.shape[1] // 2
    near = bias.values[0, middle - width + 1 : middle + width]  # by j - i, from 1 - L to L - 1
    table = np.lib.stride_tricks.sliding_window_view(near, width)[::-1]  # (L, L), line i is query i's
    if bias.causal or real.all():  # padding is later than every token
        return np.ascontiguousarray(table)[None, None]
    return np.where(real[:, None, None, :], table, np.float32(PADDING))
