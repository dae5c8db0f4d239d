"""Every backend and precision on the same texts: equal to the reference, alone or in a batch.

Tolerances are cosines to torch fp32. Batch equals single: to the last bit in OpenVINO, where no text sees
another's padding; to rounding elsewhere.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embedserve.backends import convert
from embedserve.backends.select import load_backend
from embedserve.machine import cpu
from support.mapped import resident_bytes

pytestmark = pytest.mark.usefixtures("converted_here")

native_bf16 = pytest.mark.skipif(not cpu.features().bf16, reason="this CPU has no native bf16")
VARIANTS = [
    pytest.param("torch", "fp32", 0.9999999, 1e-5),
    pytest.param("openvino", "fp32", 0.999999, 1e-5),
    pytest.param("onnx", "fp32", 0.999999, 1e-5),
    pytest.param("openvino", "bf16", 0.9999, 0, marks=native_bf16),
    pytest.param("torch", "bf16", 0.9995, 0.05, marks=native_bf16),
]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module", params=["minilm", "tiny_jina"])
def case(request):
    source = request.getfixturevalue(request.param)
    ids = request.getfixturevalue("minilm_ids" if request.param == "minilm" else "jina_ids")
    home = request.getfixturevalue("home")
    reference = load_backend(source, backend="torch", precision="fp32", home=home)
    return source, ids, home, np.concatenate([reference.embed([s]) for s in ids])


@pytest.mark.parametrize(("name", "precision", "least_cosine", "batch_error"), VARIANTS)
def test_vectors_equal_the_reference_and_do_not_depend_on_the_batch(case, name, precision, least_cosine, batch_error):
    source, ids, home, expected = case
    if precision == "bf16" and source.spec.id != "all-MiniLM-L6-v2":
        least_cosine = 0.999  # random weights, 2 layers
    backend = load_backend(source, backend=name, precision=precision, home=home)
    try:
        together = backend.embed(ids)
        alone = np.concatenate([backend.embed([s]) for s in ids])
        shuffled = backend.embed(ids[::-1] + ids[:2])[: len(ids)][::-1]
    finally:
        backend.close()
    assert together.dtype == np.float32
    assert together.flags.c_contiguous
    assert together.flags.owndata
    assert (unit(together) * unit(expected)).sum(1).min() >= least_cosine
    assert abs(together - alone).max() <= batch_error * abs(expected).max()
    assert abs(together - shuffled).max() <= batch_error * abs(expected).max()
    assert (backend.info.name, backend.info.precision) == (name, precision)
    assert backend.activation_bytes(4, 128) < backend.activation_bytes(4, 256)


def test_as_many_threads_as_streams_embed_at_once_and_memory_can_be_released_between(minilm, minilm_ids, home):
    from concurrent.futures import ThreadPoolExecutor

    backend = load_backend(minilm, backend="openvino", precision="fp32", threads=2, home=home)
    assert backend.info.streams == 2
    expected = backend.embed(minilm_ids)
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(backend.embed, minilm_ids) for _ in range(12)]
        pool.submit(backend.release_memory).result()
        for result in running:
            assert (result.result() == expected).all()
    backend.close()


@pytest.mark.skipif(sys.platform != "linux", reason="madvise of Linux")
def test_the_weights_file_leaves_memory_once_openvino_has_packed_it(minilm, minilm_ids, home):
    backend = load_backend(minilm, backend="openvino", precision="fp32", home=home)
    backend.embed(minilm_ids[:1])
    (file,) = Path(home).glob("artefacts/all-MiniLM-L6-v2/*-fp32-openvino*/model.bin")
    assert resident_bytes(file) < file.stat().st_size / 2  # the word table is half of it, and few of its pages are read
    backend.close()


@native_bf16
@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status of Linux")
def test_weights_in_half_precision_are_in_memory_once_as_packed(minilm, home):
    """Not a second time as they were before they were packed, nor the word table in float32."""
    artefact = convert.artefact(minilm, "bf16", home)
    code = f"""
from pathlib import Path
from embedserve.backends import convert
from embedserve.backends.select import load_backend
from embedserve.models.sources import resolve
from support.memory import status_mib
import openvino
openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
before = status_mib("RssAnon")
home = Path({str(home)!r})
backend = load_backend(resolve("all-MiniLM-L6-v2", home=home), backend="openvino", precision="bf16", home=home)
print(status_mib("RssAnon") - before)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # `support`
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.8 * artefact.size / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status of Linux")
def test_no_length_of_a_text_makes_the_weights_be_packed_again_after_the_load(minilm, home):
    """The plugin packs float32 weights once more at certain lengths: 15 MiB of MiniLM and 113 of jina came later."""
    artefact = convert.artefact(minilm, "fp32", home)
    code = f"""
from pathlib import Path
import numpy as np
from embedserve.backends.select import load_backend
from embedserve.models.sources import resolve
from support.memory import status_mib
home = Path({str(home)!r})
backend = load_backend(resolve("all-MiniLM-L6-v2", home=home), backend="openvino", precision="fp32", home=home)
backend.embed([np.zeros(48, np.int32)])
before = status_mib("RssAnon")
for length in (56, 60, 64, 72, 100):
    backend.embed([np.zeros(length, np.int32)])
print(status_mib("RssAnon") - before)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # `support`
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 0.08 * artefact.size / 2**20


def test_a_long_text_is_one_of_many_query_blocks_apart_from_the_reference_by_rounding_only(tiny_jina, home):
    ids = [np.random.default_rng(1).integers(0, 400, 3000).astype(np.int32)]
    vectors = [
        load_backend(tiny_jina, backend=name, precision="fp32", home=home).embed(ids) for name in ("torch", "openvino")
    ]
    assert abs(vectors[0] - vectors[1]).max() < 1e-4


def test_short_memory_is_reported_as_such(tiny_jina, home, monkeypatch):
    import onnxruntime
    import openvino
    import torch

    from embedserve.errors import OutOfMemory

    torch_backend = load_backend(tiny_jina, backend="torch", precision="fp32", home=home)
    onnx = load_backend(tiny_jina, backend="onnx", home=home)
    ov = load_backend(tiny_jina, backend="openvino", precision="fp32", home=home)

    def fail(*args, **kwargs):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(torch.nn.functional, "linear", fail)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", fail)
    monkeypatch.setattr(openvino.InferRequest, "infer", fail)
    for backend in (torch_backend, onnx, ov):
        with pytest.raises(OutOfMemory):
            backend.embed([np.array([1, 2], dtype=np.int32)])
