"""From a checkpoint's tensors to an encoder's parameters, strictly: every tensor used, every parameter filled, every
shape equal. What differs is a CheckpointError that names the tensors.

Three kinds of tensors may be left over: heads of other tasks (an architecture lists them), constants that old
versions of transformers saved (`position_ids`, rotary `inv_freq`), and nothing else.

What a forward pass would compute the same way each time is folded in here: attention's scale into the queries, the 1
of Gemma's 1 + w, MPNet's distance buckets into a row of distances.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedserve.errors import CheckpointError
from embedserve.models import weights
from embedserve.models.architectures.base import Architecture, Layout, Part
from embedserve.models.encoder import FAR, Encoder, alibi_slopes, relative_buckets, shapes
from embedserve.models.steps import Step
from embedserve.models.steps import shapes as step_shapes
from embedserve.models.weights import Tensor

Array = npt.NDArray[np.float32]
_CONSTANTS = re.compile(r"(^|\.)(position_ids|token_type_ids|inv_freq|original_inv_freq)$")
_SHOWN = 8  # names listed in an error


class Parameters(Mapping[str, Array]):
    """Canonical name -> float32 array, read from disk each time it is asked for: a model is never held twice."""

    def __init__(self, readers: dict[str, Callable[[], Array]]) -> None:
        self._readers = readers

    def __getitem__(self, name: str) -> Array:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def load(folder: Path, architecture: Architecture, e: Encoder, steps: Sequence[Step]) -> Parameters:
    """The parameters of the model in `folder`, its steps' among them. Raises CheckpointError."""
    tensors = _without_prefix(weights.read(folder), architecture, folder)
    layout = _layout(architecture, tensors)
    readers: dict[str, Callable[[], Array]] = {}
    problems = _Problems()
    for name, shape in shapes(e).items():
        source, part = _source(name, layout)
        whole = shape if part is None else (shape[0] * part.of, *shape[1:])
        if tensor := problems.take(tensors, source, whole):
            readers[name] = _reader(name, tensor, part, e)
    for name, (path, source, shape) in step_shapes(steps).items():
        if tensor := problems.take(weights.read(folder / path) if path else tensors, source, shape):
            readers[name] = tensor.read
    problems.extra = [n for n in tensors if n not in problems.used and not n.startswith(architecture.unused)]
    problems.check(folder)
    if e.buckets:
        table = readers.pop("buckets")
        readers["relative"] = lambda: _by_distance(table(), e)
    return Parameters(readers)


def _reader(name: str, tensor: Tensor, part: Part | None, e: Encoder) -> Callable[[], Array]:
    kind = name.rpartition(".")[0].rpartition(".")[2]
    is_weight = name.endswith(".weight")

    def read() -> Array:
        if part is not None:
            rows = tensor.shape[0] // part.of
            value = Tensor(tensor.raw[part.index * rows : (part.index + 1) * rows], tensor.dtype).read()
        else:
            value = tensor.read()
        if name == "positions":
            value = value[e.first_position :]
        if e.one_plus and "norm" in kind and is_weight:
            value = 1 + value
        last = "q_norm" if e.qk_norm else "q"  # the last step before the product takes the scale
        return value * _query_scale(e, value) if kind == last else value

    return read


def _query_scale(e: Encoder, value: Array) -> Array:
    """What the queries, or the weight or bias of their norm, are multiplied by. With ALiBi the scores are multiplied
    by each head's slope after the bias is added, so that one bias serves all heads: here that is taken out again."""
    scale = np.float32(e.q_scale)
    if not e.alibi:
        return np.asarray(scale)
    rows = np.repeat(scale / np.array(alibi_slopes(e.heads), dtype=np.float32), e.size)
    return rows.reshape(-1, *([1] * (value.ndim - 1)))


def _by_distance(table: Array, e: Encoder) -> Array:
    """(buckets, heads) -> (heads, 2 M - 1): the bias of each distance j - i."""
    most = e.max_tokens + FAR
    return np.ascontiguousarray(table[relative_buckets(np.arange(1 - most, most), e.buckets)].T)


def _without_prefix(tensors: dict[str, Tensor], architecture: Architecture, folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = name
        for prefix in architecture.prefixes:
            short = short.removeprefix(prefix)
        if short.endswith("position_ids") and not _counts_up(tensor):
            raise CheckpointError(f"{folder}: {name} is not 0, 1, 2, ...")
        if _CONSTANTS.search(short):
            continue
        if short in found:
            raise CheckpointError(f"{folder}: {short} is there twice, with and without a prefix")
        found[short] = tensor
    return found


def _counts_up(tensor: Tensor) -> bool:
    flat = tensor.raw.reshape(-1)
    return bool((flat == np.arange(flat.size)).all())


def _layout(architecture: Architecture, tensors: Mapping[str, Tensor]) -> Layout:
    """The spelling that shares most names with the checkpoint."""

    def known(layout: Layout) -> int:
        names = {s.format(i=0) if isinstance(s, str) else s.name.format(i=0) for s in layout.values()}
        return sum(f"{name}.weight" in tensors for name in names)

    return max(architecture.layouts, key=known)


def _source(name: str, layout: Layout) -> tuple[str, Part | None]:
    """The checkpoint's name of a canonical parameter, and which part of it."""
    prefix, _, leaf = name.rpartition(".")
    if not prefix:  # tables: `tokens`
        prefix, leaf = leaf, "weight"
    layer = ""
    if prefix.startswith("layers."):
        _, layer, prefix = prefix.split(".")
        prefix = f"layers.{{i}}.{prefix}"
    source = layout[prefix]
    if isinstance(source, Part):
        return f"{source.name.format(i=layer)}.{leaf}", source
    return f"{source.format(i=layer)}.{leaf}", None


class _Problems:
    def __init__(self) -> None:
        self.missing: list[str] = []
        self.extra: list[str] = []
        self.misshapen: list[str] = []
        self.not_float: list[str] = []
        self.used: set[str] = set()

    def take(self, tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor | None:
        """The tensor of this name, if it is as it must be; what is wrong with it is noted."""
        tensor = tensors.get(name)
        if tensor is None:
            self.missing.append(name)
            return None
        self.used.add(name)
        if tensor.shape != shape:
            self.misshapen.append(f"{name} is {list(tensor.shape)}, must be {list(shape)}")
        elif not tensor.is_float:
            self.not_float.append(f"{name} ({tensor.dtype})")
        else:
            return tensor
        return None

    def check(self, folder: Path) -> None:
        listed = (
            ("missing tensors", self.missing),
            ("tensors that this architecture does not have", self.extra),
            ("tensors of the wrong shape", self.misshapen),
            ("tensors that are not floating point", self.not_float),
        )
        found = [
            f"{what}: {', '.join(names[:_SHOWN])}" + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
            for what, names in listed
            if names
        ]
        if found:
            raise CheckpointError(f"{folder}: the checkpoint is not this model. " + "; ".join(found))
