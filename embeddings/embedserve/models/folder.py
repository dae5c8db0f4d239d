"""What a folder of model files says about itself: architecture, dimension, token limit, pooling, prompts.

Read from `config.json` and the sentence-transformers files beside it (`modules.json`,
`sentence_bert_config.json`, `1_Pooling/config.json`, `config_sentence_transformers.json`). `auto_map`, the
pointer to code in another repository, is never followed: what the architecture is follows from the config's
own fields, and strict loading (loading.py) catches a config that lies. Reads no weights, except to hash them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from embedserve.errors import CheckpointError
from embedserve.models.spec import ModelSpec

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there is loaded
REQUIRED = ("config.json", "tokenizer.json")
DESCRIPTION = (
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)


def read_json(path: Path) -> Any:
    """The file's content; CheckpointError that names the file if it is missing or torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def read_config(folder: Path) -> dict[str, Any]:
    """config.json's content."""
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder / 'config.json'} is not a JSON object")
    return config


def weights_file(folder: Path) -> Path | None:
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def missing_files(folder: Path) -> list[str]:
    """The names of the files that a model cannot do without and that are not in the folder."""
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    return missing if weights_file(folder) else [*missing, WEIGHTS[0]]


def describe(folder: Path, model_id: str) -> ModelSpec:
    """The spec of the model in a folder. Raises CheckpointError where we could not serve it rightly."""
    config = read_config(folder)
    architecture, limit = _architecture(config, folder)
    _check_modules(folder)
    settings = _optional(folder / "sentence_bert_config.json")
    if settings.get("do_lower_case"):
        raise CheckpointError(f"{folder}: `do_lower_case` outside the tokenizer is not supported")
    limits = [limit, settings.get("max_seq_length")]
    try:
        dimension = int(config["hidden_size"])
        max_tokens = min(int(n) for n in limits if n)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: hidden_size or the token limit is missing ({error!r})") from error
    prompts = _optional(folder / "config_sentence_transformers.json").get("prompts") or {}
    return ModelSpec(
        id=model_id,
        architecture=architecture,
        dimension=dimension,
        max_tokens=max_tokens,
        prompts={name: text for name, text in prompts.items() if text},
    )


def _architecture(config: dict[str, Any], folder: Path) -> tuple[Any, int | None]:
    """(architecture, token limit of the config). ALiBi has no position table: its limit is a promise."""
    positions = config.get("position_embedding_type", "absolute")
    kind = config.get("model_type")
    limit = config.get("max_position_embeddings")
    if positions == "alibi" and config.get("feed_forward_type") == "geglu":
        return "jina_bert", limit
    if kind == "bert" and positions == "absolute" and not config.get("is_decoder"):
        return "bert", limit
    raise CheckpointError(
        f"{folder}: model_type {kind!r} with {positions!r} positions is not supported; supported are BERT "
        "(absolute positions) and JinaBERT v2 (alibi, geglu)"
    )


def _check_modules(folder: Path) -> None:
    """Only Transformer + mean Pooling (+ Normalize) is served; anything else would be silently wrong."""
    path = folder / "modules.json"
    if not path.is_file():
        return  # sentence-transformers' own default is Transformer + mean Pooling
    for module in read_json(path):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise CheckpointError(f"{path}: a {kind!r} module is not supported")
        if kind == "Pooling":
            pooling = _optional(folder / str(module.get("path", "1_Pooling")) / "config.json")
            modes = [k for k, on in pooling.items() if k.startswith("pooling_mode_") and on]
            modes = modes or [str(pooling.get("pooling_mode", "mean"))]
            if modes not in (["pooling_mode_mean_tokens"], ["mean"]) or pooling.get("include_prompt", True) is False:
                raise CheckpointError(f"{path}: only mean pooling of all tokens is supported, not {modes}")


def _optional(path: Path) -> dict[str, Any]:
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_revision(folder: Path, home: Path) -> str:
    """A hash of the names and contents of all files that the vectors depend on: 40 hex digits.

    The hash of each file is remembered under `home` by path, size and modification time, so that only the
    first start reads the weights twice.
    """
    weights = weights_file(folder)
    names = [*REQUIRED, *DESCRIPTION, *([weights.name] if weights else [])]
    remembered_at = home / "hashes.json"
    try:
        remembered = json.loads(remembered_at.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        remembered = {}
    total, changed = hashlib.sha256(), False
    for name in sorted(names):
        path = (folder / name).resolve()
        if not path.is_file():
            continue
        stat = path.stat()
        key = f"{path}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in remembered:
            remembered[key], changed = file_sha256(path), True
        total.update(f"{name}\0{remembered[key]}\n".encode())
    if changed:
        _write_json(remembered_at, remembered)
    return total.hexdigest()[:40]


def _write_json(path: Path, content: Any) -> None:
    """Atomically; a home that cannot be written to only costs the time of hashing again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(content, file)
        os.replace(file.name, path)
    except OSError:
        pass
