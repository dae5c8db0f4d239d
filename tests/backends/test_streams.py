"""Streams share the cores without a rest, and OpenVINO reports that it uses what it was given."""

import os

import pytest

from embedserve.backends.openvino_backend import MOST_STREAMS, streams_for


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
