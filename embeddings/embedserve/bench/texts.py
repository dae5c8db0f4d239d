"""Real code in the lengths that indexing clients send.

Source: Python's standard library, cut at line ends. Lengths follow the clients' (measured with Roo Code's
own chunker): 50 to 1150 characters, half up to 130, 5 % over 890; about 66 tokens on average. A text's
wished length is drawn from that distribution, and lines are taken until the next one would miss it by more.

`waves` deals the texts out so that each wave holds the same mix: sorted by length, cut into strata of one text
per wave, each stratum shuffled. So two turns of different texts are the same work within a per cent, and
texts can stay unique (a cache gains nothing) without the measure becoming noisier.

It knows no tokenizer: token counts come from the server's `usage`.
"""

from __future__ import annotations

import bisect
import random
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from embedserve.errors import SetupError

SHORTEST, LONGEST = 50, 1150
# (share of the texts, characters): straight between the points on a logarithmic scale of lengths
_QUANTILES = ((0.0, 50), (0.5, 125), (0.8, 250), (0.95, 900), (1.0, 1150))


def wished_length(share: float) -> float:
    """The length in characters below which `share` of the clients' texts lie."""
    at = min(max(1, bisect.bisect_left([q for q, _ in _QUANTILES], share)), len(_QUANTILES) - 1)
    (q0, c0), (q1, c1) = _QUANTILES[at - 1], _QUANTILES[at]
    return float(c0 * (c1 / c0) ** ((share - q0) / (q1 - q0)))


def code_texts(count: int, seed: int = 0, folder: Path | None = None) -> list[str]:
    """`count` different pieces of Python code, the same ones for the same seed.

    Raises SetupError when `folder` (default: the standard library) does not hold that much code.
    """
    folder = folder or Path(sysconfig.get_paths()["stdlib"])
    rng = random.Random(seed)
    files = sorted(path for path in folder.rglob("*.py") if "site-packages" not in path.parts)
    rng.shuffle(files)
    texts: dict[str, None] = {}
    for path in files:
        for text in _cut(path.read_text("utf-8", "replace").splitlines(keepends=True), rng):
            texts.setdefault(text)
            if len(texts) == count:
                return list(texts)
    raise SetupError(f"{folder} holds {len(texts)} different texts of code, and {count} are needed")


def _cut(lines: Sequence[str], rng: random.Random) -> Iterator[str]:
    wished, text = wished_length(rng.random()), ""
    for line in lines:
        missing, over = wished - len(text), len(text) + len(line) - wished
        if over > missing and len(text.strip()) >= SHORTEST:
            yield text.rstrip()
            wished, text = wished_length(rng.random()), ""
        text = (text + line).lstrip("\r\n")
        if len(text) > LONGEST:
            wished, text = wished_length(rng.random()), ""  # a line longer than any chunk


def waves(count: int, size: int, duplicates: float = 0.0, seed: int = 0) -> list[list[str]]:
    """`count` waves of `size` texts, each with the same mix of lengths, in random order.

    duplicates: this share of each wave repeats another text of the wave (clients' scans: about 0.09).
    """
    rng = random.Random(seed)
    texts = sorted(code_texts(count * size, seed), key=len)
    dealt: list[list[str]] = [[] for _ in range(count)]
    for start in range(0, len(texts), count):
        stratum = texts[start : start + count]
        rng.shuffle(stratum)
        for wave, text in zip(dealt, stratum, strict=True):
            wave.append(text)
    for wave in dealt:
        rng.shuffle(wave)
        for at in rng.sample(range(size), int(duplicates * size)):
            wave[at] = wave[rng.randrange(size)]
    return dealt


def short_texts(count: int, seed: int = 1) -> list[str]:
    """Different texts as long as a typed search or a small chunk (50 to 130 characters)."""
    return [text for text in code_texts(count * 3, seed) if len(text) <= 130][:count]
