"""Cores and flags, from folders that look like a machine's /proc and /sys."""

import os

from embedserve.machine import cpu


def put(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def cores(root, monkeypatch, allowed=range(8), threads_per_core=1):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(allowed))
    for i in range(64):
        put(root, f"sys/devices/system/cpu/cpu{i}/topology/physical_package_id", "0\n")
        put(root, f"sys/devices/system/cpu/cpu{i}/topology/core_id", f"{i // threads_per_core}\n")
    return cpu.usable_cores(root)


def test_without_a_quota_the_affinity_mask_counts(tmp_path, monkeypatch):
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    assert cores(tmp_path, monkeypatch, allowed=[3, 7]) == 2


def test_hyper_threads_of_one_core_count_once(tmp_path, monkeypatch):
    assert cores(tmp_path, monkeypatch, allowed=range(8), threads_per_core=2) == 4


def test_a_v2_quota_bounds_the_cores_of_a_large_host(tmp_path, monkeypatch):
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    put(tmp_path, "sys/fs/cgroup/cpu.max", "200000 100000\n")
    assert cores(tmp_path, monkeypatch, allowed=range(64)) == 2


def test_a_quota_on_any_folder_above_counts_and_the_least_wins(tmp_path, monkeypatch):
    put(tmp_path, "proc/self/cgroup", "0::/kube/pod/box\n")
    put(tmp_path, "sys/fs/cgroup/kube/cpu.max", "300000 100000\n")
    put(tmp_path, "sys/fs/cgroup/kube/pod/cpu.max", "400000 100000\n")
    put(tmp_path, "sys/fs/cgroup/kube/pod/box/cpu.max", "max 100000\n")
    assert cores(tmp_path, monkeypatch) == 3


def test_a_v1_quota_where_the_path_is_the_hosts_and_not_ours(tmp_path, monkeypatch):
    put(tmp_path, "proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n")
    put(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n")
    put(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    assert cores(tmp_path, monkeypatch) == 2  # one and a half: a second thread still gains


def test_no_quota_in_v1_is_minus_one(tmp_path, monkeypatch):
    put(tmp_path, "proc/self/cgroup", "1:cpu:/\n")
    put(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    put(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert cores(tmp_path, monkeypatch) == 8


def test_a_small_quota_still_gives_one_core(tmp_path, monkeypatch):
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    put(tmp_path, "sys/fs/cgroup/cpu.max", "10000 100000\n")
    assert cores(tmp_path, monkeypatch) == 1


def test_flags_of_x86_and_of_arm(tmp_path):
    put(tmp_path, "zen4/proc/cpuinfo", "model name\t: EPYC\nflags\t\t: fpu avx512f avx512_bf16 avx512_vnni\n")
    put(tmp_path, "skylake/proc/cpuinfo", "model name\t: Xeon\nflags\t\t: fpu avx512f avx512bw\n")
    put(tmp_path, "graviton3/proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd asimddp bf16 i8mm\n")
    zen4, skylake, graviton = (cpu.from_cpuinfo(tmp_path / n) for n in ("zen4", "skylake", "graviton3"))
    assert (zen4.name, zen4.bf16, zen4.int8) == ("EPYC", True, True)
    assert (skylake.bf16, skylake.int8) == (False, False)
    assert (graviton.bf16, graviton.int8) == (True, True)


def test_no_cpuinfo_means_no_features(tmp_path):
    assert not cpu.from_cpuinfo(tmp_path).bf16
