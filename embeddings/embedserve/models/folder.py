"""What a folder of model files says about itself, as a `ModelSpec`: architecture, dimension, limits, pooling, prompts.

`auto_map`, the pointer to code in another repository, is never followed: what the architecture is follows from the
config's own fields (architectures/), what comes after it from the sentence-transformers files (layout.py), and strict
loading (parameters.py) catches a config that lies. Reads no weights, except to hash them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from embedserve.errors import CheckpointError
from embedserve.models import architectures, layout, static
from embedserve.models.architectures.base import Unsupported
from embedserve.models.encoder import Encoder
from embedserve.models.layout import read_json
from embedserve.models.spec import ModelSpec
from embedserve.models.steps import dimension
from embedserve.models.weights import INDEX, PICKLE, SAFETENSORS, shards

WEIGHTS = (SAFETENSORS, INDEX, PICKLE)  # the first that is there is loaded
REQUIRED = ("config.json", "tokenizer.json")
DESCRIPTION = (
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
)
LARGEST_LIMIT = 32768  # tokens of one text, whatever a model's files allow: attention's memory grows with the square


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
    if (path := static.folder_of(folder)) is not None:
        return static.missing_files(path)
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if weights_file(folder) is None:
        missing.append(WEIGHTS[0])
    return missing + [name for name in shards(folder) if not (folder / name).is_file()]


def describe(folder: Path, model_id: str) -> ModelSpec:
    """The spec of the model in a folder. Raises CheckpointError where we could not serve it rightly."""
    if static.folder_of(folder) is not None:
        return static.describe(folder, model_id)
    config = read_config(folder)
    architecture = architectures.of(config)
    if architecture is None:
        raise CheckpointError(
            f"{folder}: model_type {config.get('model_type')!r}{_positions(config)} is not supported; understood are "
            f"{', '.join(known.title for known in architectures.ALL)} and static models. It would need a file in "
            "embedserve/models/architectures"
        )
    try:
        encoder = architecture.read(config)
    except Unsupported as error:
        raise CheckpointError(f"{folder}: {architecture.title} with {error} is not supported") from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error!r}") from error
    found = layout.read(folder, config, architecture, encoder)
    max_tokens = min(n for n in (encoder.max_tokens, found.max_tokens, LARGEST_LIMIT) if n)
    width = dimension(found.steps, encoder.width)
    return ModelSpec(
        id=model_id,
        architecture=architecture.name,
        dimension=width,
        max_tokens=max_tokens,
        encoder=_limited(encoder, max_tokens),
        steps=found.steps,
        task="score" if found.task == "score" else "embed",
        lower_case=found.lower_case,
        notice=f"{model_id}: {found.notice}" if found.notice else "",
        prompts=found.prompts,
        default_prompt=found.default_prompt,
        matryoshka=(width, found.truncate_dim) if found.truncate_dim and found.truncate_dim < width else (),
        dtypes=architecture.dtypes,
    )


def _positions(config: dict[str, Any]) -> str:
    kind = config.get("position_embedding_type", "absolute")
    return "" if kind == "absolute" else f" with {kind!r} positions"


def _limited(encoder: Encoder, max_tokens: int) -> Encoder:
    """Tables of distances and rotations need to be no longer than the longest text."""
    return replace(encoder, max_tokens=min(encoder.max_tokens, max_tokens))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_OF_A_MODULE = (".json", ".safetensors", ".bin")


def content_revision(folder: Path, home: Path) -> str:
    """A hash of the names and contents of all files that the vectors depend on: 40 hex digits.

    The hash of each file is remembered under `home` by path, size and modification time, so that only the
    first start reads the weights twice.
    """
    weights = weights_file(folder)
    names = [*REQUIRED, *DESCRIPTION, *([weights.name] if weights else []), *shards(folder)]
    names += [str(path.relative_to(folder)) for path in folder.glob("[0-9]*_*/*") if path.suffix in _OF_A_MODULE]
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
