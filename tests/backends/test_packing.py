"""Packed batches and length groups: pure functions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedserve.backends.biases import Biases
from embedserve.backends.grouping import WASTE, groups
from embedserve.backends.packing import ALONE_STEP, STEP, pack, round_up
from embedserve.models.ops import PADDING, Relative

lengths = st.lists(st.integers(1, 300), min_size=1, max_size=20)


@given(lengths)
def test_every_token_is_gathered_into_its_own_place_and_back(sizes):
    sequences = [np.arange(n, dtype=np.int32) + 1000 * i for i, n in enumerate(sizes)]
    feed = pack(sequences)
    rectangle = feed["ids"][feed["rows"]]
    for i, sequence in enumerate(sequences):
        assert (rectangle[i][feed["mask"][i] == 1] == sequence).all()
    total = sum(sizes)
    home = rectangle.reshape(-1)[feed["back"]]
    assert (home[:total] == np.concatenate(sequences)).all()
    assert (feed["positions"][:total] == np.concatenate([np.arange(n) for n in sizes])).all()


@given(lengths, st.booleans())
def test_a_bias_is_that_of_the_distance_and_hides_the_padding(sizes, causal):
    values = np.arange(2 * 400 - 1, dtype=np.float32)[None]
    values[:, 400:] = PADDING if causal else values[:, 400:]
    feed = pack([np.ones(n, dtype=np.int32) for n in sizes], biases=Biases([Relative("near", values, causal=causal)]))
    rows, width = feed["mask"].shape
    seen = np.broadcast_to(feed["near"], (rows, 1, width, width))
    for i, j in np.random.default_rng(0).integers(0, width, (50, 2)):
        for row, length in enumerate(sizes):
            if i < length:  # nobody looks at what a filling token sees
                assert seen[row, 0, i, j] == (values[0, 399 + j - i] if j < length else PADDING)


def test_a_kept_bias_is_the_same_array_for_texts_of_its_length_until_it_is_forgotten():
    biases = Biases([Relative("near", np.arange(2 * 400 - 1, dtype=np.float32)[None])])

    def seen(*sizes, keep=True):
        return pack([np.ones(n, dtype=np.int32) for n in sizes], biases=biases, keep=keep)["near"]

    first = seen(300)
    assert seen(300) is first
    assert seen(300, keep=False) is not first
    assert seen(300, 300) is not first
    assert not np.array_equal(seen(299), first)  # as wide, and one token fewer
    again = seen(300)
    assert np.array_equal(again, first)
    biases.forget()
    assert seen(300) is not again


@given(lengths)
def test_shapes_are_rounded_up_so_that_few_are_distinct(sizes):
    feed = pack([np.ones(n, dtype=np.int32) for n in sizes])
    assert feed["ids"].shape[0] == round_up(sum(sizes), alone=ALONE_STEP if len(sizes) == 1 else 0)
    assert feed["mask"].shape[1] == round_up(max(sizes))
    assert feed["mask"].shape[1] % STEP == 0  # or softmax in float32 differs in its last bit, alone and in a batch
    assert feed["mask"].sum() == sum(sizes)


@given(lengths)
def test_groups_hold_every_text_once_and_waste_little(sizes):
    found = groups(sizes, least_tokens=64)
    assert sorted(i for group in found for i in group) == list(range(len(sizes)))
    for group in found:
        padded, real = len(group) * max(sizes[i] for i in group), sum(sizes[i] for i in group)
        assert padded <= max(64, WASTE * real)


def test_few_sizes_are_left_and_little_is_wasted():
    sizes = {round_up(n) for n in range(1, 8193)}
    assert len(sizes) < 150
    assert all(0 <= round_up(n) - n < max(STEP, n / 8 if n <= 512 else n / 16) for n in range(1, 8193))
    assert {round_up(n) for n in sizes} == sizes


def test_a_short_text_alone_is_filled_up_with_less():
    sizes = {round_up(n, alone=ALONE_STEP) for n in range(1, 8193)}
    assert sizes == {8, 24, 40, 56} | {round_up(n) for n in range(1, 8193)}
    assert all(round_up(n, alone=ALONE_STEP) - n < 8 for n in range(1, 65))
    assert pack([np.ones(21, dtype=np.int32)], alone=2)["ids"].shape == (22,)
    assert pack([np.ones(21, dtype=np.int32)] * 2, alone=2)["ids"].shape == (round_up(42),)
