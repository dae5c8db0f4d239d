import mmap
import os
import sys
from pathlib import Path

import pytest

from embedserve.machine.memory import cgroup_limit, drop_mapped
from support.mapped import resident_bytes

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


@pytest.mark.skipif(sys.platform != "linux", reason="madvise of Linux")
def test_a_dropped_file_leaves_memory_and_reads_as_before(tmp_path):
    file = tmp_path / "weights with spaces.bin"
    file.write_bytes(content := os.urandom(1 << 22))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == content
        assert resident_bytes(file) == 1 << 22
        drop_mapped(file)
        assert resident_bytes(file) == 0
        assert mapped[:] == content


@pytest.mark.skipif(sys.platform != "linux", reason="madvise of Linux")
def test_what_was_written_to_a_private_mapping_is_never_dropped(tmp_path):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"x" * 8192)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        mapped[:4] = b"mine"
        drop_mapped(file)
        assert mapped[:4] == b"mine"
