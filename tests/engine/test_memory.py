from pathlib import Path

import pytest

from embedserve.engine.memory import MemoryGovernor, cgroup_limit

GB = 1024**3


def make(tmp_path: Path, membership: str, files: dict[str, str]) -> int | None:
    root = tmp_path / "cgroup"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "self").write_text(membership)
    return cgroup_limit(root, tmp_path / "self")


def test_the_least_limit_on_the_way_up_counts_in_cgroup_v2(tmp_path):
    files = {"memory.max": "max\n", "a/memory.max": f"{2 * GB}\n", "a/b/memory.max": f"{4 * GB}\n"}
    assert make(tmp_path, "0::/a/b\n", files) == 2 * GB


def test_inside_a_container_the_mounts_own_root_counts(tmp_path):
    assert make(tmp_path, "0::/../../docker/abc\n", {"memory.max": f"{2 * GB}\n"}) == 2 * GB


def test_cgroup_v1_and_its_way_of_writing_no_limit(tmp_path):
    membership = "5:cpu:/x\n7:memory:/docker/abc\n"
    assert make(tmp_path, membership, {"memory/memory.limit_in_bytes": f"{GB}\n"}) == GB
    assert make(tmp_path, membership, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}) is None


def test_no_cgroup_means_no_limit(tmp_path):
    assert make(tmp_path, "", {}) is None


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
    rss[0] = 600  # under the threshold, over 80 % of it: neither
    assert governor.limits(5).max_texts == 8
    rss[0] = 100
    assert [governor.limits(t).max_texts for t in (6, 7, 8, 9)] == [16, 32, 64, 64]


def test_the_headroom_is_shared_by_the_workers_and_never_nothing(governor, rss):
    assert governor.limits(0).max_bytes == 300
    rss[0] = 900
    assert governor.limits(1).max_bytes == 1000 // 16 // 2


def test_adaptive_batching_can_be_switched_off(rss):
    governor = MemoryGovernor(limit=1000, percent=70, min_texts=8, max_texts=64, rss=lambda: 999, adaptive=False)
    governor.shrink()
    assert governor.limits(1).max_texts == 64
