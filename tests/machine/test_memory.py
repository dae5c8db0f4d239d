from pathlib import Path

from embedserve.machine.memory import cgroup_limit

GB = 1024**3


def make(tmp_path: Path, membership: str, files: dict[str, str]) -> int | None:
    for name, text in {"proc/self/cgroup": membership, **{f"sys/fs/cgroup/{n}": t for n, t in files.items()}}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cgroup_limit(tmp_path)


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
