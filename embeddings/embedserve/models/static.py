"""Static models: a table of token vectors, no encoder. The fastest embedding there is (Model2Vec, potion).

Two layouts hold the same thing. Model2Vec: `embeddings`, optionally `mapping` (token id -> row) and `weights` (token id
-> factor) in model.safetensors, `"model_type": "model2vec"`. sentence-transformers: a StaticEmbedding module with
`embedding.weight`. A text is the mean of its tokens' rows, without special tokens, as sentence-transformers does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedserve.errors import CheckpointError
from embedserve.models import weights
from embedserve.models.layout import optional, read_json
from embedserve.models.spec import ModelSpec
from embedserve.models.steps import Pool

ARCHITECTURE = "static"
MAX_TOKENS = 32768  # the model itself has no limit
_FILES = ("tokenizer.json", weights.SAFETENSORS)


@dataclass(frozen=True)
class Table:
    """vectors (tokens, dimension) float32: row i is token i's."""

    vectors: npt.NDArray[np.float32]


def folder_of(folder: Path) -> Path | None:
    """Where the table of a static model lies; None if this is no static model."""
    if (folder / "modules.json").is_file():
        modules = read_json(folder / "modules.json")
        if isinstance(modules, list) and modules and isinstance(modules[0], dict):
            first = modules[0]
            if str(first.get("type", "")).rpartition(".")[2] == "StaticEmbedding":
                return folder / str(first.get("path", ""))
        return None
    return folder if optional(folder / "config.json").get("model_type") == "model2vec" else None


def missing_files(path: Path) -> list[str]:
    return [name for name in _FILES if not (path / name).is_file()]


def describe(folder: Path, model_id: str) -> ModelSpec:
    """The spec of a static model. Raises CheckpointError."""
    path = folder_of(folder)
    assert path is not None
    if (folder / "modules.json").is_file():
        kinds = [str(m.get("type", "")).rpartition(".")[2] for m in read_json(folder / "modules.json")]
        if further := [kind for kind in kinds[1:] if kind not in ("Normalize", "Dropout")]:
            raise CheckpointError(f"{folder}: a {further[0]} module after a StaticEmbedding is not supported")
    general = optional(folder / "config_sentence_transformers.json")
    prompts = {str(k): str(v) for k, v in (general.get("prompts") or {}).items() if v}
    default = str(general.get("default_prompt_name") or "")
    return ModelSpec(
        id=model_id,
        architecture=ARCHITECTURE,
        dimension=_tensor(path)[1].shape[1],
        max_tokens=MAX_TOKENS,
        steps=(Pool(),),
        prompts=prompts,
        default_prompt=default if default in prompts else "",
        dtypes=("fp32",),
    )


def load(folder: Path) -> Table:
    """The table with mapping and weights folded in. Raises CheckpointError."""
    path = folder_of(folder)
    if path is None:
        raise CheckpointError(f"{folder} is no static model")
    tensors, embedding = _tensor(path)
    vectors = embedding.read()
    if "mapping" in tensors:
        vectors = vectors[np.asarray(tensors["mapping"].raw, dtype=np.int64)]
    if "weights" in tensors:
        factors = tensors["weights"].read().reshape(-1, 1)
        if len(factors) != len(vectors):
            raise CheckpointError(f"{path}: {len(factors)} weights for {len(vectors)} tokens")
        vectors = vectors * factors
    return Table(np.ascontiguousarray(vectors, dtype=np.float32))


def vocabulary(folder: Path) -> int:
    """Tokens that have a vector."""
    path = folder_of(folder)
    assert path is not None
    tensors, embedding = _tensor(path)
    return int(tensors["mapping"].shape[0] if "mapping" in tensors else embedding.shape[0])


def _tensor(path: Path) -> tuple[dict[str, weights.Tensor], weights.Tensor]:
    tensors = weights.read(path)
    names = {"embeddings", "embedding.weight", "mapping", "weights"}
    if unknown := set(tensors) - names:
        raise CheckpointError(f"{path}: tensors that a static model does not have: {', '.join(sorted(unknown))}")
    found = tensors.get("embeddings") or tensors.get("embedding.weight")
    if found is None or len(found.shape) != 2 or not found.is_float:
        raise CheckpointError(f"{path}: no table of token vectors (`embeddings`) is there")
    return tensors, found
