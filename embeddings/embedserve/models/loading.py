"""Strict loading of a checkpoint: every tensor used, every parameter filled, every shape equal.

The checkpoint's names are the module's names, so the rule is set equality of names and equality of shapes;
what differs is a CheckpointError that names the tensors. Three kinds of tensors may be there in addition:
the pooler's and the MLM head's (trained for other tasks; listed by name in UNUSED), and `position_ids`, a
constant that old transformers saved: it must be 0, 1, 2, ...

Imports torch (and transformers for BERT): only backends and conversion import this module.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from embedserve.errors import CheckpointError
from embedserve.models.folder import read_config, weights_file
from embedserve.models.jina_bert import JinaBert, JinaBertConfig
from embedserve.models.spec import ModelSource

# Heads that no embedding needs: BERT's pooler, its MLM and next-sentence heads.
UNUSED = re.compile(r"^(pooler\.|cls\.predictions\.|cls\.seq_relationship\.|lm_head\.)")
_SHOWN = 8  # names listed in an error


def load_encoder(source: ModelSource, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The encoder, in eval mode on the CPU.

    Its forward(input_ids [n, L] int64, attention_mask [n, L], 0 is padding) gives hidden states [n, L, d].
    Raises CheckpointError where the files are not exactly this model.
    """
    config = read_config(source.folder)
    state = _rename(read_state(source.folder), source.folder)
    try:
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
            encoder = _build(source.spec.architecture, config)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{source.folder / 'config.json'}: {error!r}") from error
    _check(encoder, state, source.folder)
    for name in list(state):  # one at a time: both dtypes of the whole model are never in memory together
        state[name] = state.pop(name).to(dtype)
    _core(encoder).load_state_dict(state, strict=True, assign=True)
    _fill_buffers(encoder)
    return encoder.requires_grad_(False).eval()


class BertEncoder(nn.Module):
    """transformers' BertModel behind the forward() of every encoder here."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        known = {k: v for k, v in config.items() if k not in ("torch_dtype", "dtype", "auto_map")}
        settings = BertConfig(**known)
        settings._attn_implementation = "sdpa"
        self.model = BertModel(settings, add_pooling_layer=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def _build(architecture: str, config: dict[str, Any]) -> nn.Module:
    if architecture == "jina_bert":
        return JinaBert(JinaBertConfig.from_dict(config))
    if architecture == "bert":
        return BertEncoder(config)
    raise ValueError(f"no loader for architecture {architecture!r}")


def read_state(folder: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors, or of pytorch_model.bin (weights_only: no code is run)."""
    path = weights_file(folder)
    if path is None:
        raise CheckpointError(f"{folder}: neither model.safetensors nor pytorch_model.bin is there")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # OSError, RuntimeError, UnpicklingError, SafetensorError (a bare Exception)
        raise CheckpointError(f"{path} cannot be read (a torn download?): {error}") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise CheckpointError(f"{path} is not a plain dictionary of tensors")
    return state


def _rename(state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Without the optional `bert.` prefix, the named unused heads and a right `position_ids`."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        short = name.removeprefix("bert.")
        if UNUSED.match(short):
            continue
        if short == "embeddings.position_ids":
            if not torch.equal(tensor.flatten().long(), torch.arange(tensor.numel())):
                raise CheckpointError(f"{folder}: {name} is not 0, 1, 2, ...")
            continue
        if short in renamed:
            raise CheckpointError(f"{folder}: {short} is there twice, with and without the prefix 'bert.'")
        renamed[short] = tensor
    return renamed


def _check(encoder: nn.Module, state: dict[str, Tensor], folder: Path) -> None:
    wanted = {name: tuple(p.shape) for name, p in _core(encoder).named_parameters()}
    missing = [n for n in wanted if n not in state]
    extra = [n for n in state if n not in wanted]
    misshapen = [
        f"{n} is {list(state[n].shape)}, must be {list(shape)}"
        for n, shape in wanted.items()
        if n in state and tuple(state[n].shape) != shape
    ]
    not_float = [f"{n} ({state[n].dtype})" for n in wanted if n in state and not state[n].is_floating_point()]
    problems = [
        f"{what}: {', '.join(names[:_SHOWN])}" + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        for what, names in (
            ("missing tensors", missing),
            ("tensors that this architecture does not have", extra),
            ("tensors of the wrong shape", misshapen),
            ("tensors that are not floating point", not_float),
        )
        if names
    ]
    if problems:
        raise CheckpointError(f"{folder}: the checkpoint is not this model. " + "; ".join(problems))


def _core(encoder: nn.Module) -> nn.Module:
    """The module whose parameter names are the checkpoint's."""
    return encoder.model if isinstance(encoder, BertEncoder) else encoder


def _fill_buffers(encoder: nn.Module) -> None:
    """BERT's two constants, left without storage by the meta device."""
    for name, buffer in list(encoder.named_buffers()):
        owner = encoder.get_submodule(name.rpartition(".")[0])
        leaf = name.rpartition(".")[2]
        if leaf == "position_ids":
            value = torch.arange(buffer.shape[-1]).expand(buffer.shape).clone()
        elif leaf == "token_type_ids":
            value = torch.zeros(buffer.shape, dtype=torch.long)
        else:
            raise CheckpointError(f"unknown buffer {name}: this transformers version is not supported")
        setattr(owner, leaf, value)
