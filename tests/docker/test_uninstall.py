"""`manage.sh uninstall` on a bare machine: the file system afterwards equals the one before the first start."""

from __future__ import annotations

import subprocess

import pytest

from docker.stack import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.slow]

# The files of a person who has an editor and an agent already. Both are to be as they were, to the byte.
INSIDE = r"""
set -eu
mkdir -p /root/embedserve /root/.config/Code/User && tar -x -C /root/embedserve && cd /root/embedserve
printf '{\n  // mine\n  "version": "2.0.0",\n  "tasks": []\n}\n' >/root/.config/Code/User/tasks.json
printf '{"numStartups": 3, "mcpServers": {"other": {"command": "true"}}}\n' >/root/.claude.json
export HOME=/root USER=root EMBEDSERVE_RUNTIME=native EMBEDDING_MODEL=all-MiniLM-L6-v2 HF_HUB_OFFLINE=1
snapshot() {
  { find / -xdev -type f -exec sha256sum {} + ; find / -xdev ! -type f -printf '%y %p\n'; } 2>/dev/null |
    sort -k 2 >"/dev/shm/$1"
}
snapshot before
{
  scripts/manage.sh start
  scripts/manage.sh index scripts/lib
  (cd embeddings && ../scripts/manage.sh search "who holds a port?") # never indexed: that begins now, in the background
  scripts/manage.sh vscode install --yes
  scripts/manage.sh agent install claude
} >/dev/shm/log 2>&1 || { cat /dev/shm/log; exit 1; }
snapshot between
scripts/manage.sh uninstall --yes >/dev/shm/said 2>&1
snapshot after
echo "made $(comm -13 /dev/shm/before /dev/shm/between | wc -l)"
comm -13 /dev/shm/before /dev/shm/between |
  grep -E ' /root/(\.claude.json|\.config/Code/User/tasks.json)$' | sed 's/.* /edited /'
sed 's/^/said /' /dev/shm/said
for cmdline in /proc/[0-9]*/cmdline; do
  if tr '\0' ' ' <"$cmdline" 2>/dev/null | grep -q '^/root/embedserve/'; then echo "differs process $cmdline"; fi
done
diff /dev/shm/before /dev/shm/after | grep '^[<>]' | sed 's/^/differs /' || true
"""


def test_uninstall_leaves_the_file_system_of_before_the_first_start(capsys: pytest.CaptureFixture[str]) -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    clone = subprocess.run(
        ["tar", "-c", "--null", "-T", "-"], cwd=ROOT, input=files, capture_output=True, check=True
    ).stdout
    done = subprocess.run(
        ["docker", "run", "--rm", "-i", "python:3.11-slim-bookworm", "bash", "-c", INSIDE],
        input=clone,
        capture_output=True,
        timeout=900,
    )
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, (lines[-20:], done.stderr.decode()[-3000:])
    with capsys.disabled():
        print("\n" + "\n".join(line for line in lines if line.startswith(("made", "said"))))
    assert int(lines[0].removeprefix("made ")) > 1000  # it was really installed
    assert [line for line in lines if line.startswith("edited ")] == [
        "edited /root/.claude.json",
        "edited /root/.config/Code/User/tasks.json",
    ]
    assert [line for line in lines if line.startswith("differs ")] == []
