"""One text on all cores: the same vector to the bit, made in the background, nothing lost where it cannot be made."""

import logging
import sys

import numpy as np
import pytest

from embedserve.backends import openvino_wide
from embedserve.backends.openvino_wide import WideModel
from embedserve.backends.select import load_backend
from embedserve.serving import loading
from embedserve.settings import Settings

TEXT = [np.arange(2, 40, dtype=np.int32)]


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(openvino_wide, "_DELAY", 0.0)


def loaded(source, home, wide_bytes):
    return load_backend(source, backend="openvino", precision="fp32", threads=2, wide_bytes=wide_bytes, home=home)


def test_a_text_has_the_same_vector_on_one_core_and_on_all(tiny_jina, tmp_path, at_once):
    backend = loaded(tiny_jina, tmp_path, sys.maxsize)
    before = backend.embed_alone(TEXT)  # while the copy is being made
    backend._wide._thread.join(60)
    assert backend._wide.get() is not None
    np.testing.assert_array_equal(before, backend.embed(TEXT))
    np.testing.assert_array_equal(before, backend.embed_alone(TEXT))
    backend.release_memory()
    np.testing.assert_array_equal(before, backend.embed_alone(TEXT))
    backend.close()


def test_without_room_for_a_copy_a_float32_model_has_one_stream_of_all_cores_and_the_same_vectors(
    tiny_jina, tmp_path, at_once
):
    apart, together = loaded(tiny_jina, tmp_path, 0), loaded(tiny_jina, tmp_path, 1000)
    assert together._wide is None
    assert (apart.info.streams, together.info.streams, together.info.threads) == (2, 1, 2)
    assert together._model.get_property("INFERENCE_NUM_THREADS") == 2
    np.testing.assert_array_equal(together.embed_alone(TEXT), apart.embed(TEXT))
    apart.close()
    together.close()


def test_a_copy_that_cannot_be_made_is_logged_once_and_not_tried_again(at_once, caplog):
    tried = []

    def fail():
        tried.append(1)
        raise MemoryError

    wide = WideModel(fail)
    with caplog.at_level(logging.WARNING):
        assert wide.get() is None
        wide._thread.join(10)
        assert wide.get() is None
    wide.close()
    assert len(tried) == 1
    assert "one text goes on to use one core" in caplog.text


def test_a_server_that_stops_at_once_compiles_nothing(monkeypatch):
    monkeypatch.setattr(openvino_wide, "_DELAY", 60.0)
    wide = WideModel(lambda: pytest.fail("compiled"))
    wide.get()
    wide.close()
    assert wide.get() is None


@pytest.mark.parametrize(
    ("wide", "limit", "expected"),
    [("off", 0, 0), ("on", 0, sys.maxsize), ("auto", 512 << 20, 32 << 20), ("auto", 1 << 50, 256 << 20)],
)
def test_the_setting_says_what_the_copy_may_take(monkeypatch, tmp_path, wide, limit, expected):
    monkeypatch.setattr(loading, "usable_memory", lambda _limit: limit)
    assert loading._wide_bytes(Settings(home=tmp_path, wide=wide)) == expected
