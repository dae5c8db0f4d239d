"""Static models: a table of token vectors, no encoder. The fastest embedding there is (Model2Vec, potion).

Two layouts hold the same thing. Model2Vec: `embeddings`, optionally `mapping` (token id -> row) and `weights` (token id
-> factor) in model.safetensors; its config.json says `"model_type": "model2vec"`, or, since 2025, no model type at all
but how the table was made. sentence-transformers: a modules.json with a StaticEmbedding, `embedding.weight`.

A text is the mean of its tokens' rows, without special tokens. Each layout as its own library does it: Model2Vec leaves
unknown tokens out and cuts at 512 tokens (`max_length` of its config), sentence-transformers does neither.
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
MODEL2VEC_LIMIT = 512  # model2vec's DEFAULT_MAX_LENGTH
_MADE_BY_MODEL2VEC = ("normalize", "embedding_dtype", "vocabulary_quantization")  # of its configs without a type
_FILES = ("tokenizer.json", weights.SAFETENSORS)


@dataclass(frozen=True)
class Table:
    """vectors (tokens, dimension) float32: row i is token i's. left_out: a token that no mean has; -1: none."""

    vectors: npt.NDArray[np.float32]
    left_out: int = -1


def folder_of(folder: Path) -> Path | None:
    """Where the table of a static model lies; None if this is no static model."""
    if (folder / "modules.json").is_file():
        modules = read_json(folder / "modules.json")
        if isinstance(modules, list) and modules and isinstance(modules[0], dict):
            first = modules[0]
            if str(first.get("type", "")).rpartition(".")[2] == "StaticEmbedding":
                return folder / str(first.get("path", ""))
        return None
    config = optional(folder / "config.json")
    kind = config.get("model_type", "" if "architectures" in config else None)
    ours = kind == "model2vec" or (kind is None and any(name in config for name in _MADE_BY_MODEL2VEC))
    return folder if ours else None


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
        max_tokens=_limit(folder),
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
    left_out = -1 if (folder / "modules.json").is_file() else _unknown(path)
    return Table(np.ascontiguousarray(vectors, dtype=np.float32), left_out)


def _limit(folder: Path) -> int:
    """Tokens of one text."""
    if (folder / "modules.json").is_file():
        return MAX_TOKENS
    asked = optional(folder / "config.json").get("max_length", MODEL2VEC_LIMIT)
    return min(MAX_TOKENS, asked) if isinstance(asked, int) and asked > 0 else MAX_TOKENS


def _unknown(path: Path) -> int:
    """The id of the unknown token in tokenizer.json; -1: it has none."""
    tokenizer = read_json(path / "tokenizer.json")
    model = tokenizer.get("model") or {}
    if isinstance(model.get("unk_id"), int):  # Unigram
        return int(model["unk_id"])
    added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens") or ()}
    vocab = model.get("vocab")
    vocabulary: dict[str, int] = vocab if isinstance(vocab, dict) else {}
    return int({**added, **vocabulary}.get(model.get("unk_token"), -1))


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
