"""Streams share the cores without a rest, and OpenVINO reports that it uses what it was given."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from embedserve.backends.openvino_backend import MOST_STREAMS, streams_for
from embedserve.backends.select import load_backend


@pytest.mark.parametrize("cores", range(1, 65))
def test_streams_share_all_cores(cores):
    """Regression: 6 cores used 4, 10 used 8, 14 used 12."""
    streams = streams_for(cores)
    assert streams * (cores // streams) == cores


@pytest.mark.parametrize(
    ("cores", "streams"), [(1, 1), (2, 2), (3, 3), (4, 4), (6, 3), (8, 4), (12, 4), (16, 4), (5, 5), (10, 5), (14, 2)]
)
def test_working_memory_is_bounded_by_few_streams(cores, streams):
    assert streams_for(cores) == streams
    assert streams <= MOST_STREAMS + 3


@pytest.mark.parametrize("cores", [1, 2])
def test_openvino_uses_what_it_was_given(cores):
    if len(os.sched_getaffinity(0)) < cores:
        pytest.skip("fewer cores here")
    import openvino
    from openvino import opset13 as ops

    x = ops.parameter([-1, 4], name="x")
    options = {"NUM_STREAMS": streams_for(cores), "INFERENCE_NUM_THREADS": cores}
    model = openvino.Core().compile_model(openvino.Model([ops.relu(x)], [x]), "CPU", options)
    used = model.get_property("INFERENCE_NUM_THREADS")
    assert used == cores
    assert model.get_property("NUM_STREAMS") * (used // model.get_property("NUM_STREAMS")) == cores


@pytest.mark.parametrize("cores", [11, 13])
def test_a_prime_number_of_cores_is_not_one_stream(cores):
    assert streams_for(cores) == cores


def test_a_worker_that_computes_for_the_first_time_does_not_wait_for_the_batch_of_another(minilm, home):
    """Regression: a request that was made while a stream computed waited for it, 17 s beside a long text."""
    large, small = list(np.arange(5, 9005, dtype=np.int32).reshape(18, 500)), np.arange(5, 25, dtype=np.int32)
    for _ in range(3):  # it waited where both threads came to the same stream
        backend = load_backend(minilm, backend="openvino", precision="fp32", home=home, threads=2)
        with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
            running = one.submit(backend.embed, large)  # about a second
            time.sleep(0.15)
            other.submit(backend.embed, [small]).result(30)
            assert not running.done()
        backend.close()
