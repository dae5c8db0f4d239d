"""The whole of a model as one function over `Ops`: tokens in, one row a text out. Every library runs this one."""

from __future__ import annotations

from embedserve.errors import CheckpointError
from embedserve.models import architectures, parameters, steps
from embedserve.models.encoder import Encoder, encode
from embedserve.models.ops import Ops, V
from embedserve.models.parameters import Parameters
from embedserve.models.spec import ModelSource, ModelSpec


def encoder_of(spec: ModelSpec) -> Encoder:
    if spec.encoder is None:
        raise CheckpointError(f"{spec.id} has no encoder (it is {spec.architecture})")
    return spec.encoder


def load_parameters(source: ModelSource) -> Parameters:
    """Strictly; see parameters.load."""
    spec = source.spec
    return parameters.load(source.folder, architectures.named(spec.architecture), encoder_of(spec), spec.steps)


def vectors(ops: Ops, spec: ModelSpec) -> V:
    """(n, dimension) rows; scores where the model's task is to score. Not normalised unless a step says so."""
    e = encoder_of(spec)
    return steps.run(ops, encode(ops, e, types=spec.task == "score"), spec.steps, e.width)
