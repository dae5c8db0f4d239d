import pytest

from embedserve.engine.memory import MemoryGovernor

GB = 1024**3


@pytest.fixture
def rss():
    return [100]


@pytest.fixture
def governor(rss):
    return MemoryGovernor(limit=1000, percent=70, min_texts=8, max_texts=64, rss=lambda: rss[0], workers=2)


def test_the_cap_halves_over_the_threshold_down_to_the_minimum_and_comes_back(governor, rss):
    assert governor.limits(0).max_texts == 64
    rss[0] = 800
    assert [governor.limits(t).max_texts for t in (1, 2, 3, 4)] == [32, 16, 8, 8]
    rss[0] = 650  # under the threshold, over 90 % of it: neither
    assert governor.limits(5).max_texts == 8
    rss[0] = 620  # what a process at rest may need under a small limit
    assert [governor.limits(t).max_texts for t in (6, 7, 8, 9)] == [16, 32, 64, 64]


def test_the_headroom_is_shared_by_the_workers_and_never_nothing(governor, rss):
    assert governor.limits(0).max_bytes == 300
    rss[0] = 900
    assert governor.limits(1).max_bytes == 1000 // 16 // 2


def test_adaptive_batching_can_be_switched_off(rss):
    governor = MemoryGovernor(limit=1000, percent=70, min_texts=8, max_texts=64, rss=lambda: 999, adaptive=False)
    governor.shrink()
    assert governor.limits(1).max_texts == 64
