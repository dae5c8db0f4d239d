"""The tensors of a checkpoint, read without any tensor library: `model.safetensors`, whole or in shards.

A safetensors file is eight bytes of length, a JSON header, and raw little-endian numbers, so a memory map of it is
all that is needed; bfloat16, which NumPy does not have, is widened by two zero bytes. `pytorch_model.bin` is a pickle:
it is read by torch with `weights_only` where torch is installed, and refused by name where it is not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedserve.errors import CheckpointError, MissingExtra

SAFETENSORS, PICKLE, INDEX = "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "u1"}


class Tensor:
    """One tensor on disk: `shape`, `dtype` (F32, BF16, ...), and `read()` as float32."""

    def __init__(self, raw: npt.NDArray[Any], dtype: str) -> None:
        self.raw, self.dtype, self.shape = raw, dtype, tuple(raw.shape)

    @property
    def is_float(self) -> bool:
        return self.dtype in ("F64", "F32", "F16", "BF16")

    def read(self) -> npt.NDArray[np.float32]:
        if self.dtype == "BF16":
            return (self.raw.astype(np.uint32) << 16).view(np.float32)
        return np.asarray(self.raw, dtype=np.float32)


def read(folder: Path) -> dict[str, Tensor]:
    """Name -> tensor of a model's folder. Raises CheckpointError that names the file that is missing or torn."""
    if (folder / SAFETENSORS).is_file():
        return _safetensors(folder / SAFETENSORS)
    if (folder / INDEX).is_file():
        found: dict[str, Tensor] = {}
        for name in shards(folder):
            found.update(_safetensors(folder / name))
        return found
    if (folder / PICKLE).is_file():
        return _pickle(folder / PICKLE)
    raise CheckpointError(f"{folder}: neither {SAFETENSORS} nor {PICKLE} is there")


def parameters(folder: Path) -> int:
    """How many numbers a model has; of a pickle, which only torch reads, at most that many."""
    tensors = [tensor for path in folder.rglob("*.safetensors") for tensor in _safetensors(path).values()]
    return sum(one.raw.size for one in tensors) or sum(p.stat().st_size // 2 for p in folder.rglob(PICKLE))


def shards(folder: Path) -> list[str]:
    """The files that model.safetensors.index.json names, each once; [] where there is no such index."""
    try:
        names = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
    except OSError:
        return []
    except (ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder / INDEX} cannot be read: {error!r}") from error
    if bad := [n for n in names if not isinstance(n, str) or Path(n).name != n]:
        raise CheckpointError(f"{folder / INDEX} names a file outside its folder: {bad[0]!r}")
    return sorted(set(names))


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
        return {name: _tensor(data, entry) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read (a torn download?): {error}") from error


def _tensor(data: npt.NDArray[np.uint8], entry: dict[str, Any]) -> Tensor:
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if end > len(data):
        raise ValueError("a tensor lies beyond the end of the file")
    raw = data[start:end].view(_TYPES[entry["dtype"]]).reshape(shape)
    return Tensor(raw, entry["dtype"])


def _pickle(path: Path) -> dict[str, Tensor]:
    try:
        import torch
    except ImportError:
        raise MissingExtra(f"{path} is a pickle (a model.safetensors is not) and", "torch") from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # OSError, RuntimeError, UnpicklingError
        raise CheckpointError(f"{path} cannot be read (a torn download?): {error}") from error
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise CheckpointError(f"{path} is not a plain dictionary of tensors")
    return {
        name: Tensor(t.float().numpy(), "F32") if t.is_floating_point() else Tensor(t.numpy(), "I64")
        for name, t in state.items()
    }
