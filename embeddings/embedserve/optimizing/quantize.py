"""Post-training static int8 quantisation of a converted model, with NNCF.

Weights per channel and activations per tensor become int8 (scheme TRANSFORMER, MIXED: symmetric weights,
asymmetric activations); SmoothQuant moves the outliers of activations into the weights. Attention's own two
products stay as they are: one fused operation in bf16. Calibrated on real code.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from embedserve.backends import artefacts
from embedserve.backends.base import TokenIds
from embedserve.backends.biases import Biases
from embedserve.backends.packing import Feed, pack
from embedserve.errors import MissingExtra
from embedserve.models.encoder import Encoder, biases

ALPHA = 0.8  # SmoothQuant: how much of an outlier goes from the activations into the weights (precision.md)
PASSES = 2  # over the calibration set: SmoothQuant's and the ranges'


def quantize(
    fp32: Path,
    encoder: Encoder,
    ids: Sequence[TokenIds],
    folder: Path,
    progress: Callable[[int], None],
    *,
    saturates: bool,
) -> str:
    """Write the int8 model of `fp32`, `encoder`'s graph, into folder; returns NNCF's version. `progress` gets texts
    done (PASSES times each). saturates: the CPU adds pairs of products in 16 bits, so weights take 7. Raises
    MissingExtra without nncf."""
    try:
        import nncf
    except ImportError:
        raise MissingExtra("int8 quantisation", "optimize") from None
    import openvino

    nncf.set_log_level(logging.ERROR)

    def feed(sequence: TokenIds) -> Feed:
        progress(1)
        feed = pack([sequence], biases=relative)
        return {name: feed[name] for name in names}

    model = openvino.Core().read_model(fp32)
    names, relative = [i.get_any_name() for i in model.inputs], Biases(biases(encoder))
    with contextlib.redirect_stdout(io.StringIO()):  # NNCF draws bars of its own there
        quantised = nncf.quantize(
            model,
            nncf.Dataset(ids, feed),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(ids),
            ignored_scope=nncf.IgnoredScope(names=attention_products(model) + tables(model)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE if saturates else None,
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=ALPHA),
            ),
        )
    openvino.save_model(quantised, folder / artefacts.OPENVINO_FILES[0], compress_to_fp16=False)
    return str(nncf.__version__)


def attention_products(model: object) -> list[str]:
    """Names of the operations that multiply two activations."""
    names = []
    for operation in model.get_ops():  # type: ignore[attr-defined]
        kind = operation.get_type_name()
        if kind == "ScaledDotProductAttention" or (
            kind == "MatMul"
            and operation.input(1).get_source_output().get_node().get_type_name() not in ("Constant", "Convert")
        ):
            names.append(operation.get_friendly_name())
    return names


def tables(model: object) -> list[str]:
    """Names of the operations that look rows of weights up (token embeddings): in int8 nothing of theirs is faster, and
    the CPU plugin would hold the whole table in float32."""
    return [
        operation.get_friendly_name()
        for operation in model.get_ops()  # type: ignore[attr-defined]
        if operation.get_type_name() == "Gather"
        and operation.input(0).get_source_output().get_node().get_type_name() in ("Constant", "Convert")
    ]
