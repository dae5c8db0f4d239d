"""How much of a mapped file is in this process's memory (Linux)."""

from pathlib import Path


def resident_bytes(file: Path) -> int:
    """Over all mappings of the file."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if not line.split(" ", 1)[0].endswith(":"):  # the head of a mapping: addresses, rights, ..., its file
            inside = line.endswith(" " + str(file.resolve()))
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total
