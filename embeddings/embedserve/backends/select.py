"""Chooses backend and precision for a model on this machine, and says why.

    a static model                           -> static: a table in NumPy
    a GPU (cuda, mps)                        -> torch, bf16 (fp16 where the GPU has no bf16)
    a CPU that OpenVINO serves (x86-64, ARM) -> openvino: int8 artefact, else bf16 where native, else fp32
    any other                                -> onnx if installed, else torch fp32

What the user pinned is done or refused with the reason; nothing falls back in silence. The library that is
chosen is the only one imported.
"""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from embedserve.backends import artefacts
from embedserve.backends.base import Backend
from embedserve.errors import ArtefactError, MissingExtra, SettingsError
from embedserve.machine import cpu
from embedserve.models import static
from embedserve.models.architectures import named
from embedserve.models.spec import ModelSource

_COPY = 0.82  # about: bytes of a second compiled model for each byte of a large artefact (scripts/bench/one_text.py)
OPENVINO_MACHINES = ("x86_64", "amd64", "arm64", "aarch64")


@dataclass(frozen=True)
class Choice:
    """What would be loaded. why: one line, as BackendInfo has it. artefact: the one of int8, hashed already."""

    backend: str
    precision: str
    device: str
    why: str
    artefact: artefacts.Artefact | None = None


def choose(
    source: ModelSource, *, backend: str = "auto", precision: str = "auto", device: str = "auto", home: Path
) -> Choice:
    """The backend, precision and device for this model here. Nothing is converted and no weights are read.

    Raises SetupError when what is pinned cannot be had here.
    """
    if source.spec.architecture == static.ARCHITECTURE:
        return _static(source, backend, precision, device)
    device = _device(backend, device)
    name, reason = _backend(backend, device)
    if device != "cpu" and name != "torch":
        raise SettingsError(f"EMBEDDING_DEVICE={device} needs EMBEDDING_BACKEND=torch; {name} runs on the CPU")
    if name == "openvino":
        return _openvino(source, precision, home, reason)
    if name == "onnx":
        return _onnx(precision, reason)
    return _torch(source, precision, device, reason)


def load_backend(
    source: ModelSource,
    *,
    backend: str = "auto",
    precision: str = "auto",
    device: str = "auto",
    threads: int = 0,
    onnx_threads: int = 0,
    wide_bytes: int = 0,
    home: Path,
) -> Backend:
    """Load `source`. Raises SetupError when what is pinned cannot be had here.

    wide_bytes: how much a second copy may take, which runs one text on all cores (openvino); a model in fp32
    whose copy would take more shares all cores in every product instead. 0: neither.
    """
    choice = choose(source, backend=backend, precision=precision, device=device, home=home)
    threads = threads or cpu.usable_cores()
    if choice.backend == "openvino":
        try:
            return _load_openvino(source, choice, threads, wide_bytes, home)
        except ArtefactError as error:
            if backend != "auto" or precision == "int8" or not _torch_is_here():
                raise
            choice = _torch(source, precision, "cpu", f"the export to OpenVINO failed ({error.message})")
    if choice.backend == "static":
        from embedserve.backends.static_backend import StaticBackend

        return StaticBackend(source, why=choice.why)
    if choice.backend == "onnx":
        return _load_onnx(source, choice, min(onnx_threads or threads, threads), home)
    from embedserve.backends.torch_backend import TorchBackend

    return TorchBackend(source, precision=choice.precision, device=choice.device, threads=threads, why=choice.why)


def _device(backend: str, device: str) -> str:
    """`auto` looks for a GPU only where torch is what was asked for, or NVIDIA's driver is there: importing
    torch just to look would cost every CPU server 250 MB."""
    if device != "auto":
        return device
    if backend not in ("auto", "torch") or (backend == "auto" and not (_gpu_driver() and _torch_is_here())):
        return "cpu"
    torch = _import_torch(f"EMBEDDING_BACKEND={backend}")
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _torch_is_here() -> bool:
    return importlib.util.find_spec("torch") is not None


def _import_torch(what: str) -> ModuleType:
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtra(what, "torch") from None
    return torch


def _gpu_driver() -> bool:
    apple_silicon = platform.system() == "Darwin" and platform.machine() == "arm64"
    return apple_silicon or Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def _backend(backend: str, device: str) -> tuple[str, str]:
    if backend != "auto":
        return backend, "pinned by EMBEDDING_BACKEND"
    if device != "cpu":
        return "torch", f"a {device} device is at hand"
    if platform.machine().lower() in OPENVINO_MACHINES:
        unused = (
            "" if not _gpu_driver() or _torch_is_here() else "; a GPU is unused: the extra 'torch' is not installed"
        )
        return "openvino", f"fastest on {platform.machine()} CPUs{unused}"
    return "torch", f"OpenVINO does not serve {platform.machine()}"


def _openvino(source: ModelSource, precision: str, home: Path, reason: str) -> Choice:
    from embedserve.backends.openvino_backend import computes_bf16

    chosen, why = _cpu_precision(source, precision, home, computes_bf16())
    artefact = artefacts.find(source, "int8", home) if chosen == "int8" else None
    if chosen == "int8" and artefact is None:
        raise ArtefactError(_no_int8(source, home))
    return Choice("openvino", chosen, "cpu", f"openvino: {reason}; {chosen}: {why}", artefact)


def _load_openvino(source: ModelSource, choice: Choice, threads: int, wide_bytes: int, home: Path) -> Backend:
    from embedserve.backends import convert
    from embedserve.backends.openvino_backend import MOST_STREAMS, OpenVinoBackend

    artefact = choice.artefact or convert.artefact(source, choice.precision, home)
    wide = wide_bytes > 0 and artefact.size * _COPY <= wide_bytes
    # In fp32, without room for a copy: all cores share each product, so one text has them all (engine.md). In bf16 and
    # int8 batches are shorter, and the pauses between those of a single worker cost more than a search gains.
    together = wide_bytes > 0 and not wide and artefact.precision == "fp32" and threads <= MOST_STREAMS
    return OpenVinoBackend(
        artefact, source.spec, threads=threads, why=choice.why, wide=wide, streams=1 if together else 0
    )


def _onnx(precision: str, reason: str) -> Choice:
    from embedserve.backends.onnx_backend import require_onnxruntime

    require_onnxruntime()
    if precision not in ("auto", "fp32"):
        raise SettingsError(f"EMBEDDING_PRECISION={precision}: the onnx backend runs fp32 only")
    return Choice("onnx", "fp32", "cpu", f"onnx: {reason}; fp32: the only one it runs")


def _load_onnx(source: ModelSource, choice: Choice, threads: int, home: Path) -> Backend:
    from embedserve.backends import convert
    from embedserve.backends.onnx_backend import OnnxBackend

    artefact = convert.artefact(source, artefacts.ONNX, home)
    return OnnxBackend(artefact, source.spec, threads=threads, why=choice.why)


def _static(source: ModelSource, backend: str, precision: str, device: str) -> Choice:
    """A table needs no inference library; what else is pinned would be ignored, so it is refused."""
    if backend != "auto" or precision not in ("auto", "fp32") or device not in ("auto", "cpu"):
        raise SettingsError(
            f"{source.spec.id} is a static model: it runs without an inference library, in fp32, on the CPU; leave "
            "EMBEDDING_BACKEND, EMBEDDING_PRECISION and EMBEDDING_DEVICE at auto"
        )
    return Choice("static", "fp32", "cpu", "static: a table of token vectors, no inference library is needed")


def _cpu_precision(source: ModelSource, precision: str, home: Path, native: bool) -> tuple[str, str]:
    """The precision on the CPU and why. native: the library computes bf16 here; it is refused where it would be
    emulated or ignored."""
    features = cpu.features()
    if precision == "fp16":
        _allowed(source, precision)
        raise SettingsError("EMBEDDING_PRECISION=fp16 is for GPUs; on a CPU take bf16, fp32 or int8")
    if precision == "bf16" and not features.bf16:
        raise SettingsError(
            f"EMBEDDING_PRECISION=bf16: {features.name} has no bf16 arithmetic (no AVX512_BF16, AMX or ARM BF16), "
            "and emulated it is many times slower than fp32; take fp32 or int8"
        )
    if precision == "bf16" and not native:
        raise SettingsError(
            f"EMBEDDING_PRECISION=bf16: OpenVINO computes it on x86-64 only, not on {platform.machine()}; take fp32 or "
            "int8, or EMBEDDING_BACKEND=torch"
        )
    if precision != "auto":
        _allowed(source, precision)
        return precision, "pinned by EMBEDDING_PRECISION"
    unused = ""
    if "int8" in source.spec.dtypes:
        if found := artefacts.find(source, "int8", home):
            if not (unfit := _unfit(found, features)):
                return "int8", "an optimised artefact is installed"
            unused = f"; the int8 artefact is not used: {unfit}"
        elif artefacts.is_there(source, "int8", home):
            unused = "; the int8 artefact is torn: run `embedserve optimize` again"
        elif artefacts.stale(source, "int8", home):
            unused = "; the int8 artefact is of another OpenVINO or embedserve version: run `embedserve optimize` again"
    if native and "bf16" in source.spec.dtypes:
        return "bf16", f"native on this CPU ({', '.join(f for f in features.flags if 'bf16' in f)}){unused}"
    where = f"by OpenVINO on {platform.machine()}" if features.bf16 and not native else "on this CPU"
    return "fp32", f"no native bf16 {where}{unused}"


def _unfit(artefact: artefacts.Artefact, features: cpu.CpuFeatures) -> str:
    """Why `auto` leaves an int8 artefact: judged on another class of CPU, or slower than fp32. "" where it fits."""
    made_on = artefact.notes.get(artefacts.MADE_ON, features.int8_class)
    if made_on != features.int8_class:
        return f"it was judged on {made_on}; run `embedserve optimize` here"
    times = artefact.notes.get(artefacts.TIMES_FP32, 1.0)
    return f"it runs at {times} times the speed of fp32 here" if times < 1 else ""


def _allowed(source: ModelSource, precision: str) -> None:
    if precision not in source.spec.dtypes:
        why = named(source.spec.architecture).why_not
        raise SettingsError(
            f"EMBEDDING_PRECISION={precision} is wrong for {source.spec.id}: its weights allow "
            f"{', '.join(source.spec.dtypes)}" + (f" ({why})" if why else "")
        )


def _no_int8(source: ModelSource, home: Path) -> str:
    how = f"make one with `embedserve optimize {source.spec.id} --precision int8`"
    if artefacts.is_there(source, "int8", home):
        return f"the int8 artefact in {artefacts.path_of(source, 'int8', home)} is torn; {how}"
    return f"there is no int8 artefact of {source.spec.id} for this revision, OpenVINO and embedserve version; {how}"


def _torch(source: ModelSource, precision: str, device: str, reason: str) -> Choice:
    torch = _import_torch(reason if reason.startswith("OpenVINO") else "EMBEDDING_BACKEND=torch")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SettingsError(f"EMBEDDING_DEVICE={device}: PyTorch {torch.__version__} finds no CUDA device here")
    if device == "mps" and not torch.backends.mps.is_available():
        raise SettingsError("EMBEDDING_DEVICE=mps: PyTorch finds no Apple GPU here")
    if precision == "int8":
        raise SettingsError("EMBEDDING_PRECISION=int8 needs EMBEDDING_BACKEND=openvino")
    if device == "cpu":
        if precision == "auto":
            native = cpu.features().bf16 and "bf16" in source.spec.dtypes
            chosen, why = ("bf16", "native on this CPU") if native else ("fp32", "no native bf16 on this CPU")
        else:
            chosen, why = _cpu_precision(source, precision, Path(), cpu.features().bf16)
    else:
        chosen, why = _gpu_precision(source, precision, device)
    return Choice("torch", chosen, device, f"torch: {reason}; {chosen}: {why}")


def _gpu_precision(source: ModelSource, precision: str, device: str) -> tuple[str, str]:
    if precision != "auto":
        _allowed(source, precision)
        return precision, "pinned by EMBEDDING_PRECISION"
    import torch

    bf16 = device == "mps" or torch.cuda.is_bf16_supported(including_emulation=False)
    order = ("bf16", "fp16") if bf16 else ("fp16",)
    for candidate in order:
        if candidate in source.spec.dtypes:
            return candidate, f"fastest that {device} and the weights allow"
    return "fp32", f"neither {' nor '.join(order)} is right for these weights on {device}"


def installed_artefacts(source: ModelSource, home: Path) -> list[dict[str, Any]]:
    """For `embedserve models` and /v1/models: precision, folder, and notes with the guard's status."""
    return [{"precision": a.precision, "folder": str(a.folder), **a.notes} for a in artefacts.installed(source, home)]
