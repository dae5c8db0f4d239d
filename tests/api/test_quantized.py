"""Small vectors equal those of sentence-transformers' `quantize_embeddings` at the documented ranges."""

import numpy as np
import pytest

from embedserve.api.quantized import half_range, quantized


def unit_rows(dimension, count=200):
    vectors = np.random.default_rng(7).standard_normal((count, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("dimension", [384, 768, 100])
@pytest.mark.parametrize("kind", ["int8", "uint8", "binary", "ubinary"])
def test_small_vectors_equal_the_librarys(kind, dimension):
    from sentence_transformers.util.quantization import quantize_embeddings  # seconds

    vectors = unit_rows(dimension)
    r = half_range(dimension)
    ranges = np.array([[-r] * dimension, [r] * dimension], dtype=np.float32)
    theirs = quantize_embeddings(vectors, precision=kind, ranges=ranges if kind.endswith("int8") else None)
    ours = quantized(vectors, kind)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_components_beyond_the_range_take_its_end_instead_of_wrapping_round():
    one = np.zeros((1, 768), dtype=np.float32)
    one[0, :2] = (1, -1)
    assert quantized(one, "int8")[0, :2].tolist() == [127, -128]
    assert quantized(one, "uint8")[0, :2].tolist() == [255, 0]


@pytest.mark.parametrize("dimension", [384, 768])
def test_int8_keeps_cosines_within_a_thousandth(dimension):
    vectors = unit_rows(dimension)
    r = half_range(dimension)
    back = (quantized(vectors, "int8").astype(np.float32) + 128.5) * 2 * r / 255 - r
    cosines = np.einsum("ij,ij->i", back, vectors) / np.linalg.norm(back, axis=1)
    assert cosines.min() > 0.9995
