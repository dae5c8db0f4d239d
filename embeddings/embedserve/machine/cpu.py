"""What this CPU can do, and how many cores this process may really use.

Flags come from the operating system (/proc/cpuinfo, sysctl; on Windows from OpenVINO, as the system does not
tell). Cores are the least of: the physical cores in the affinity mask, and the CPU quota of every cgroup from
ours to the root (v1 and v2). A container with a quota of 2 on a 64-core host gets 2 threads.

Knows nothing of models. Reads files only; every path starts at `root`, so that a test can bring its own.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from embedserve.machine import cgroup

ROOT = Path("/")


@dataclass(frozen=True)
class CpuFeatures:
    """Arithmetic that the CPU has in hardware. Emulated bf16 is many times slower than fp32."""

    name: str
    bf16: bool  # dot products: AVX512_BF16, AMX-BF16 or ARM BF16
    int8: bool  # dot products: AVX-VNNI, AVX512-VNNI, AMX-INT8, ARM dotprod or I8MM
    flags: tuple[str, ...]  # those that decided it

    @property
    def int8_class(self) -> str:
        """Machines of one class compute int8 alike. Without dot products, sums of pairs saturate at 16 bits."""
        return f"{platform.machine().lower()} with{'' if self.int8 else 'out'} int8 dot products"

    @property
    def kind(self) -> str:
        """What arithmetic to expect, as a name for files and keys: x86_64, x86_64-avx512_bf16-avx512_vnni."""
        return "-".join([platform.machine().lower(), *self.flags])


_BF16 = ("avx512_bf16", "amx_bf16", "bf16")
_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


@lru_cache
def features() -> CpuFeatures:
    """Of the machine we run on."""
    if sys.platform == "darwin":
        return _from_sysctl()
    if sys.platform == "win32":
        return _from_openvino()
    return from_cpuinfo(ROOT)


def from_cpuinfo(root: Path) -> CpuFeatures:
    """From /proc/cpuinfo: the `flags` line on x86, `Features` on ARM. A missing file means no features."""
    found: set[str] = set()
    name = platform.machine()
    try:
        lines = (root / "proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features") and not found:
            found = set(value.split())
        elif key.strip() == "model name" and value.strip():
            name = value.strip()
    return _features(name, found)


def _features(name: str, found: set[str]) -> CpuFeatures:
    bf16 = [flag for flag in _BF16 if flag in found]
    int8 = [flag for flag in _INT8 if flag in found]
    return CpuFeatures(name, bool(bf16), bool(int8), tuple(bf16 + int8))


def _from_sysctl() -> CpuFeatures:
    def read(name: str) -> str:
        result = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False)
        return result.stdout.strip()

    arm = {"FEAT_BF16": "bf16", "FEAT_DotProd": "asimddp", "FEAT_I8MM": "i8mm"}
    found = {flag for feature, flag in arm.items() if read(f"hw.optional.arm.{feature}") == "1"}
    if "AVX512VNNI" in read("machdep.cpu.leaf7_features"):
        found.add("avx512_vnni")
    return _features(read("machdep.cpu.brand_string") or platform.machine(), found)


def _from_openvino() -> CpuFeatures:
    import openvino

    has = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    found = {"avx512_bf16"} if "BF16" in has else set()
    return _features(platform.processor() or platform.machine(), found)


def usable_cores(root: Path = ROOT) -> int:
    """Cores that this process may keep busy: physical ones in its affinity mask, within its cgroup's quota."""
    quota = cgroup_quota(root)
    cores = _physical_cores(root)
    return max(1, min(cores, math.ceil(quota)) if quota else cores)


def _physical_cores(root: Path) -> int:
    """Distinct cores under the affinity mask. Hyper-threads share the units that matrix products need."""
    if not hasattr(os, "sched_getaffinity"):
        import psutil

        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    seen: set[tuple[str, str]] = set()
    for cpu in allowed:
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        try:
            package = (topology / "physical_package_id").read_text().strip()
            seen.add((package, (topology / "core_id").read_text().strip()))
        except OSError:
            return len(allowed)
    return len(seen)


def cgroup_quota(root: Path = ROOT) -> float | None:
    """The least CPU quota, in cores, of our cgroup and all above it; None where there is none."""
    return min(cgroup.limits(root, "cpu", ("cpu", "cpu,cpuacct"), v2=_read_v2, v1=_read_v1), default=None)


def _read_v2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _read_v1(folder: Path) -> float | None:
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    period = int((folder / "cpu.cfs_period_us").read_text())
    return quota / period if quota > 0 else None
