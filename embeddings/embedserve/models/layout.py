"""What a folder in sentence-transformers layout says: the modules after the Transformer, prompts, limits, the task.

    modules.json                          which modules, in which order, each with its folder and class
    1_Pooling/config.json, 2_Dense/...    one config a module
    sentence_bert_config.json             max_seq_length, do_lower_case
    config_sentence_transformers.json     prompts, default_prompt_name, truncate_dim, a cross-encoder's activation
    tokenizer_config.json                 model_max_length

What is not understood is refused by name with what would be needed, never approximated: a module that we do not have,
a pooling mode, an activation, a task. Reads no weights but the names of a classification head's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedserve.errors import CheckpointError
from embedserve.models import weights
from embedserve.models.architectures.base import Architecture
from embedserve.models.encoder import Encoder
from embedserve.models.steps import MEAN, MODES, Dense, Norm, Normalize, Pool, Step, check

BARE = "it has no modules.json, so the mean of its tokens is taken, as sentence-transformers does"
_LEGACY = {  # in the order in which the library concatenates them
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = {
    "Identity": "identity",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
}
_LARGEST_LIMIT = 10**9  # tokenizers without a limit say 10^30


@dataclass(frozen=True)
class Layout:
    """steps: from hidden states to the vector, or to the scores where task is "score"."""

    steps: tuple[Step, ...]
    task: str = "embed"
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    max_tokens: int | None = None
    lower_case: bool = False
    truncate_dim: int | None = None
    notice: str = ""


def read_json(path: Path) -> Any:
    """The file's content; CheckpointError that names the file if it is missing or torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def optional(path: Path) -> dict[str, Any]:
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def read(folder: Path, config: dict[str, Any], architecture: Architecture, e: Encoder) -> Layout:
    """Raises CheckpointError for what we could not serve rightly."""
    general = optional(folder / "config_sentence_transformers.json")
    transformer = optional(folder / "sentence_bert_config.json")
    is_classifier = any(str(c).endswith("ForSequenceClassification") for c in config.get("architectures") or ())
    notice = ""
    if is_classifier:
        steps = _head(folder, config, general, architecture, e)
    elif (folder / "modules.json").is_file():
        steps = _modules(folder, e)
    else:
        steps, notice = MEAN, BARE
    prompts = {str(k): str(v) for k, v in (general.get("prompts") or {}).items() if v}
    default = str(general.get("default_prompt_name") or "")
    return Layout(
        steps,
        "score" if is_classifier else "embed",
        prompts,
        default if default in prompts else "",
        _limit(folder, transformer),
        bool(transformer.get("do_lower_case")),
        general.get("truncate_dim"),
        notice,
    )


def _limit(folder: Path, transformer: dict[str, Any]) -> int | None:
    limit = transformer.get("max_seq_length")
    if not limit:
        limit = optional(folder / "tokenizer_config.json").get("model_max_length")
    return int(limit) if isinstance(limit, int | float) and 0 < limit < _LARGEST_LIMIT else None


def _modules(folder: Path, e: Encoder) -> tuple[Step, ...]:
    path = folder / "modules.json"
    modules = read_json(path)
    if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
        raise CheckpointError(f"{path} is not a list of modules")
    steps: list[Step] = []
    for place, module in enumerate(modules):
        kind = str(module.get("type", "")).rpartition(".")[2]
        at = str(module.get("path", ""))
        if Path(at).is_absolute() or ".." in Path(at).parts:
            raise CheckpointError(f"{path}: a module lies outside the model's folder: {at!r}")
        if kind == "Transformer":
            _check_transformer(folder, path, place, at)
        elif kind != "Dropout":  # does nothing outside training
            steps.append(_step(folder, path, kind, at))
    try:
        check(steps, e.width)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return tuple(steps)


def _check_transformer(folder: Path, path: Path, place: int, at: str) -> None:
    if place:
        raise CheckpointError(f"{path}: the Transformer is module {place}, not the first")
    if at:
        raise CheckpointError(f"{path}: the Transformer lies in the subfolder {at!r}; move its files to {folder}")
    task = optional(folder / "sentence_bert_config.json").get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise CheckpointError(f"{folder}: transformer_task is {task!r}; only 'feature-extraction' gives embeddings")


def _step(folder: Path, path: Path, kind: str, at: str) -> Step:
    config = optional(folder / at / "config.json")
    try:
        return _known_step(path, kind, at, config)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the {kind!r} module's {folder / at / 'config.json'} is missing or incomplete ({error!r})"
        ) from error


def _known_step(path: Path, kind: str, at: str, config: dict[str, Any]) -> Step:
    if kind == "Pooling":
        return _pooling(path, config)
    if kind == "Normalize":
        return Normalize()
    for name in ("module_input_name", "module_output_name"):
        if config.get(name) not in (None, "sentence_embedding"):
            raise CheckpointError(f"{path}: the {kind} module works on {config[name]!r}, not on the vector")
    if kind == "Dense":
        activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
        residual = bool(config.get("use_residual", False))
        into, out = int(config["in_features"]), int(config["out_features"])
        return Dense(at, into, out, bool(config.get("bias", True)), _activation(path, activation), residual)
    if kind == "LayerNorm":
        return Norm(at, int(config["dimension"]))
    raise CheckpointError(
        f"{path}: a {kind!r} module is not supported; understood are Transformer, Pooling, Dense, LayerNorm, Normalize "
        "and StaticEmbedding"
    )


def _pooling(path: Path, config: dict[str, Any]) -> Pool:
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in _LEGACY.items() if config.get(key)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise CheckpointError(f"{path}: pooling {unknown[0]!r} is not known; known are {', '.join(MODES)}")
    return Pool(tuple(modes), config.get("include_prompt", True) is not False)


def _activation(path: Path, name: Any) -> str:
    module, _, leaf = str(name).rpartition(".")
    if name is None:
        return "identity"
    if not module.startswith("torch.nn") or leaf not in _ACTIVATIONS:
        raise CheckpointError(
            f"{path}: activation {name!r} is not supported; {', '.join(_ACTIVATIONS)} of torch.nn are"
        )
    return _ACTIVATIONS[leaf]


def _head(
    folder: Path, config: dict[str, Any], general: dict[str, Any], architecture: Architecture, e: Encoder
) -> tuple[Step, ...]:
    """A cross-encoder: the classification head as steps, then the activation that CrossEncoder.predict applies."""
    if architecture.heads is None:
        raise CheckpointError(f"{folder}: a classification head on {architecture.title} is not supported")
    head = architecture.heads(config)
    labels = len(config.get("id2label") or {}) or int(config.get("num_labels", 2))
    names = {n for name in weights.read(folder) for n in (name, *(name.removeprefix(p) for p in architecture.prefixes))}
    steps: list[Step] = [Pool((head.pooling,))]
    if head.dense:
        bias = f"{head.dense}.bias" in names
        steps.append(Dense("", e.width, e.width, bias, head.activation, tensor=head.dense))
    if head.norm:
        steps.append(Norm("", e.width, e.eps, f"{head.norm}.bias" in names, tensor=head.norm))
    activation = _score_activation(folder, config, general, labels)
    steps.append(Dense("", e.width, labels, f"{head.out}.bias" in names, activation, tensor=head.out))
    return tuple(steps)


def _score_activation(folder: Path, config: dict[str, Any], general: dict[str, Any], labels: int) -> str:
    """In the order in which the library looks: its own config, the model's, else sigmoid for one label."""
    named = (
        general.get("activation_fn")
        or (config.get("sentence_transformers") or {}).get("activation_fn")
        or config.get("sbert_ce_default_activation_function")
    )
    if named is not None:
        return _activation(folder / "config.json", named)
    return "sigmoid" if labels == 1 else "identity"
