"""The peak of this process's memory.

`getrusage` is no measure of it: Linux hands `ru_maxrss` on through fork and exec, so a child of a large process says
its parent's peak. The kernel's `VmHWM` belongs to the memory of this program alone, and can be set back.
"""

from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def status_mib(name: str) -> int:
    """A figure of /proc/self/status in MiB: RssAnon is what is in no file."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) // 1024


def peak_mib() -> int:
    """Largest resident memory of this program since its start, or since `forget_peak`, in MiB."""
    return status_mib("VmHWM")


def forget_peak() -> int:
    """The peak becomes what is resident now, which is returned, in MiB."""
    CLEAR.write_text("5")  # man 5 proc
    return peak_mib()
