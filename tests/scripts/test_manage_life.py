"""manage.sh through a clone's life: interrupted, moved, updated, upgraded, removed. Native; no Docker Engine."""

from __future__ import annotations

import os
import pty
import random
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from scripts.checkout import ROOT, Checkout
from support.processes import free_port


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    yield made
    made.close()


@pytest.fixture
def ready(checkout):
    checkout.make_venv()
    return checkout


def interrupted(checkout: Checkout, *words: str, after: float, until: str = "", **env: str) -> tuple[str, float]:
    """Ctrl-C as a terminal sends it (to the whole group); gives the output and how long it took to end."""
    process = subprocess.Popen(
        [str(checkout.manage), *words], env={**checkout.env, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    seen = ""
    while until and until not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    seen += process.communicate(timeout=20)[0]
    took = time.monotonic() - began
    assert process.returncode == 130 or (process.returncode == 0 and took < 0.5), (process.returncode, seen)
    return seen, took


def running(pattern: str) -> list[str]:
    return subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True).stdout.split()


def test_ctrl_c_during_an_install_ends_once_and_leaves_no_pip(checkout):
    checkout.make_venv()
    for stamp in (checkout.root / ".venv").glob(".stamp-*"):
        stamp.unlink()
    python = checkout.root / ".venv/bin/python"
    real = python.read_text()
    body = 'case "$2 $3" in "pip --version" | "pip cache") exit 0;; esac\n'
    body += 'if [ "$2" = pip ]; then echo "Collecting openvino"; bash -c "sleep 97531"; fi\n'
    python.write_text(real.replace("exec", body + "exec", 1))
    out, took = interrupted(checkout, "start", after=1, until="installing")
    assert took < 2
    assert out.count("manage.sh: interrupted") == 1, out
    assert not running("sleep 97531")
    assert not (checkout.root / ".run/lock").exists()
    python.write_text(real.replace("exec", 'if [ "$2" = pip ]; then exit 0; fi\nexec', 1))  # a network that works
    assert checkout.run("start", "jina").returncode == 0


def test_the_loop_that_waits_for_a_service_expands_no_command():
    """bash 5.2 parses the text of a command substitution when it expands it, and Ctrl-C is lost in that parser: once in
    some hundreds of tries, which no test can wait for."""
    text = (ROOT / "scripts/lib/services.sh").read_text()
    loop = re.search(r"^wait_ready\(\) .*?^  while :; do\n(.*?)^  done$", text, re.DOTALL | re.MULTILINE)[1]
    assert "wait $!" in loop
    assert not re.search(r"\$\((?!\()|`|<\(", loop)


@pytest.mark.slow
def test_ctrl_c_while_a_service_loads_stops_what_was_not_ready(checkout):
    checkout.make_venv(entry="#!/bin/bash\nwhile :; do sleep 0.2; done\n")
    out, took = interrupted(checkout, "start", after=1, until="waiting", EMBEDSERVE_START_TIMEOUT="60")
    assert took < 2
    assert out.count("interrupted: qdrant was not ready yet and is stopped") == 1
    assert "jina" not in out
    assert not (checkout.root / ".run/qdrant.pid").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_ctrl_c_at_a_random_moment_of_start_and_the_next_run_heals(ready, seed):
    _, took = interrupted(ready, "start", after=random.Random(seed).uniform(0, 4))
    assert took < 2
    healed = ready.run("start")
    assert healed.returncode == 0, healed.stderr
    assert "jina is" in healed.stdout


def test_too_little_room_is_said_before_anything_is_downloaded(checkout):
    checkout.tool("df", "echo Filesystem; echo /dev/x 1 1 200 1% /")
    result = checkout.run("start")
    assert result.returncode == 1
    assert "not enough room for .venv: 200 MB are free" in result.stderr
    assert not (checkout.root / ".venv").exists()


def test_what_an_install_costs_is_said_first(checkout):
    for name in ("python3.11", "python3.12", "python3.13", "python3.14", "python3", "python"):
        checkout.tool(name, 'case "$1" in -c) exit 0;; *) exit 1;; esac')  # no venv: nothing is made after it
    result = checkout.run("start", "jina")
    first = result.stdout.splitlines()[0]
    assert first.startswith("installing into .venv: ")
    assert "GB of disk" in first


@pytest.mark.parametrize("name", ["home", "clone"])
def test_a_folder_that_cannot_be_written_to_is_named(checkout, name):
    """A file in the way, since rights do not stop root."""
    blocked = checkout.home / "blocked" if name == "home" else checkout.root / ".run"
    blocked.write_text("a file where a folder should be")
    result = checkout.run("start", EMBEDDING_HOME=str(checkout.home / "blocked/x"))
    assert result.returncode == 1
    assert "cannot be written to" in result.stderr
    assert ("set EMBEDDING_HOME" if name == "home" else "clone it somewhere else") in result.stderr


@pytest.mark.slow
def test_a_native_clone_stays_native_when_an_engine_answers(ready):
    assert ready.run("start", "jina", "--native").returncode == 0
    ready.run("stop")
    ready.tool("docker", "case $1 in info) exit 0;; *) exit 1;; esac")
    ready.tool("docker-compose", "exit 1")  # or the real one would build the image
    again = ready.run("start", "jina")
    assert again.returncode == 0, again.stderr
    assert "jina is ready (native, pid" in again.stdout
    ready.run("stop")
    switched = ready.run("start", "jina", "--docker")
    assert "NOTE: this clone ran natively last; now it runs in Docker." in switched.stdout
    assert "Models, the embedding cache and the index do not move" in switched.stdout


@pytest.mark.slow
def test_start_restarts_what_runs_old_code_and_names_changed_settings(ready):
    ready.run("start", "jina")
    pid = ready.pid("jina")
    noted = ready.run("start", "jina", EMBEDDING_MAX_INPUTS="5")
    assert "its settings have changed since it was started" in noted.stdout
    assert ready.pid("jina") == pid
    with (ready.root / "embeddings/embedserve/errors.py").open("a") as file:
        file.write("# pulled\n")
    again = ready.run("start", "jina")
    assert "jina runs the code of before an update: restarting it" in again.stdout
    assert ready.pid("jina") != pid
    assert "already running" in ready.run("start", "jina").stdout


@pytest.mark.slow
def test_start_after_the_port_was_changed_moves_what_runs_there(ready):
    ready.run("start", "jina")
    pid, other = ready.pid("jina"), str(free_port())
    status = ready.run("status", "jina", EMBEDDING_PORT=other)
    assert f"it was started on {ready.url()}, and the settings say http://127.0.0.1:{other} now" in status.stdout
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", int(other)))
        busy.listen()
        assert ready.run("start", "jina", EMBEDDING_PORT=other).returncode == 5
    assert ready.pid("jina") == pid  # it goes on where it was
    moved = ready.run("start", "jina", EMBEDDING_PORT=other)
    assert moved.returncode == 0, moved.stderr
    assert f"jina listens on {ready.url()}, and the settings say http://127.0.0.1:{other} now" in moved.stdout
    assert f"is ready (native, pid {ready.pid('jina')}) on http://127.0.0.1:{other}" in moved.stdout
    assert ready.pid("jina") != pid


# A user's own container of our name, and another clone's: what `docker` and `docker-compose` are asked is written down.
ENGINE = """
echo "$*" >>"{log}"
case "$*" in
  info | version) exit 0 ;;
  *State.Running*) echo true ;;
  *Mounts*) echo "{mounts} |{folder}" ;;
  *Config.Image*) echo "qdrant/qdrant:v1.9.0" ;;
  *inspect*volume* | *"compose version"*) exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("mounts", "folder", "ours"),
    [
        ("", "", False),  # docker run --name qdrant, the user's own
        ("my-vectors", "/tmp", False),
        ("embedserve-qdrant embedserve-cache", "/tmp", False),  # another clone's, which is there
        ("embedserve-qdrant embedserve-cache", "/no/such/clone/qdrant", True),  # this clone, before it was moved
        ("embedserve-qdrant embedserve-cache", None, True),
    ],
)
def test_a_container_that_this_clone_did_not_make_is_never_stopped_or_removed(checkout, mounts, folder, ours):
    log = checkout.root / "docker.log"
    folder = str(checkout.root / "qdrant") if folder is None else folder
    checkout.tool("docker", ENGINE.format(log=log, mounts=mounts, folder=folder))
    checkout.tool("docker-compose", "exit 1")
    stopped = checkout.run("stop", "qdrant")
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout == ("qdrant stopped (docker)\n" if ours else "qdrant is not running\n")
    listed = checkout.run("uninstall").stdout
    assert bool(re.search(r"container +qdrant$", listed, re.MULTILINE)) == ours, listed
    calls = log.read_text().splitlines()
    assert ours == any(call.split()[0] in ("stop", "rm") for call in calls), calls
    if not ours:
        started = checkout.run("start", "qdrant", "--docker")
        assert started.returncode == 5
        assert "there is a container called qdrant that this clone did not make (qdrant/qdrant" in started.stderr


BUSY = (
    "#!/usr/bin/env python3\n"
    "import json, os, sys\nfrom http.server import *\n"
    "if sys.argv[1] == 'warmup': sys.exit(0)\n"
    "class H(BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200); self.end_headers()\n"
    "        self.wfile.write(json.dumps({'model': 'm', 'requests_active': 8, 'requests_waiting': 70}).encode())\n"
    "HTTPServer(('127.0.0.1', int(os.environ['EMBEDDING_PORT'])), H).serve_forever()\n"
)


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_on_a_terminal_stop_asks_before_it_interrupts_an_index(ready, answer, code):
    (ready.root / ".venv/bin/embedserve").write_text(BUSY)
    assert ready.run("start", "jina").returncode == 0
    master, terminal = pty.openpty()
    command = [str(ready.manage), "stop", "jina"]
    process = subprocess.Popen(command, env=ready.env, stdin=terminal, stdout=terminal, stderr=terminal)
    seen, deadline = b"", time.monotonic() + 30
    while b"[y/N]" not in seen and time.monotonic() < deadline and process.poll() is None:
        if select.select([master], [], [], 0.2)[0]:
            seen += os.read(master, 1000)
    assert b"8 requests, 70 waiting. An index may be running against it" in seen
    os.write(master, answer.encode() + b"\n")
    assert process.wait(40) == code
    os.close(master)
    os.close(terminal)


@pytest.mark.slow
def test_logs_are_of_this_start_alone(ready):
    ready.run("start", "jina")
    ready.run("stop")
    ready.run("start", "jina")
    assert ready.run("logs", "jina").stdout.count("== jina started") == 1


def test_a_qdrant_elsewhere_is_not_started_here(ready):
    result = ready.run("start", QDRANT_URL="https://cloud.example:6333")
    assert result.returncode == 0, result.stderr
    assert "qdrant: not started, as QDRANT_URL names another one" in result.stdout


def test_a_qdrant_starts_where_its_url_says(ready):
    port = free_port()
    result = ready.run("start", "qdrant", QDRANT_PORT="", QDRANT_URL=f"http://localhost:{port}")
    assert f"qdrant is ready (native, pid {ready.pid('qdrant')}) on http://127.0.0.1:{port}" in result.stdout


@pytest.mark.slow
def test_index_search_and_settings_follow_the_moved_ports(ready, tmp_path):
    env_file = ready.root / ".env"
    env_file.write_text(f"EMBEDDING_PORT={ready.port}\nQDRANT_PORT={ready.qdrant_port}\n")
    for name in ("EMBEDDING_PORT", "QDRANT_PORT"):
        del ready.env[name]
    assert ready.run("start").returncode == 0
    (tmp_path / "code").mkdir()
    (tmp_path / "code/a.py").write_text(
        "def parse_the_configuration(path):\n    return open(path).read().split()\n" * 3
    )
    indexed = ready.run("index", str(tmp_path / "code"))
    assert indexed.returncode == 0, indexed.stderr
    found = ready.run("search", "--workspace", str(tmp_path / "code"), "parse the configuration")
    assert "a.py:1" in found.stdout, found.stderr
    shown = ready.run("settings")
    assert f"EMBEDDING_PORT={ready.port}  # {env_file}" in shown.stdout, shown.stdout + shown.stderr
    # by hand, without manage.sh, from another folder
    by_hand = ready.run_as([str(ready.root / ".venv/bin/embedserve"), "warmup"], EMBEDSERVE_ROOT=str(ready.root))
    assert by_hand.returncode == 0, by_hand.stderr


@pytest.mark.parametrize("command", ["start", "stop", "status", "logs", "uninstall", "upgrade", "settings"])
def test_help_after_any_command_is_help(checkout, command):
    result = checkout.run(command, "--help")
    assert result.returncode == 0
    assert "usage: scripts/manage.sh" in result.stdout


def test_sh_finds_bash_by_itself(checkout):
    assert "usage:" in checkout.run_as(["sh", str(checkout.manage), "help"]).stdout


def test_commands_in_hints_can_be_copied(checkout):
    hint = checkout.run("frobnicate").stderr.splitlines()[-1].split("See: ")[1]
    assert checkout.run_as(["bash", "-c", hint]).returncode == 0


@pytest.mark.parametrize(
    ("system", "machine", "words"), [("Darwin", "x86_64", "Intel Macs"), ("MINGW64_NT", "x86_64", "WSL")]
)
def test_a_system_without_wheels_is_told_so_first(checkout, system, machine, words):
    checkout.tool("uname", f"case $1 in -m) echo {machine};; *) echo {system};; esac")
    result = checkout.run("start", "jina", "--native")
    assert result.returncode == 4
    assert words in result.stderr
    assert "--docker" in result.stderr
    assert not (checkout.root / ".venv").exists()


@pytest.mark.slow
def test_upgrade_pulls_installs_and_restarts_what_runs(ready, tmp_path):
    def git(*words: str, cwd: Path) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *identity, *words], cwd=cwd, check=True, capture_output=True)

    (ready.root / ".gitignore").write_text(".venv\n.run\n")
    git("init", cwd=ready.root)
    git("add", "-A", cwd=ready.root)
    git("commit", "-m", "1", cwd=ready.root)
    git("clone", str(ready.root), str(tmp_path / "origin"), cwd=tmp_path)
    git("remote", "add", "origin", str(tmp_path / "origin"), cwd=ready.root)
    git("fetch", cwd=ready.root)
    git("branch", "-u", "origin/main", cwd=ready.root)
    ready.run("start", "jina")
    pid = ready.pid("jina")
    assert "already the newest" in ready.run("upgrade").stdout
    assert ready.pid("jina") == pid
    with (tmp_path / "origin/embeddings/embedserve/errors.py").open("a") as file:
        file.write("# new\n")
    git("commit", "-am", "2", cwd=tmp_path / "origin")
    result = ready.run("upgrade")
    assert result.returncode == 0, result.stderr
    assert "->" in result.stdout
    assert ready.pid("jina") != pid


def files_of(*folders: Path) -> set[str]:
    return {str(path) for folder in folders for path in folder.rglob("*")}


def test_uninstall_lists_sizes_asks_and_leaves_nothing(ready):
    user = ready.home / ".config/Code/User"
    user.mkdir(parents=True)
    (user / "tasks.json").write_text('{"version": "2.0.0", "tasks": []}\n')
    venv = {path for path in files_of(ready.root) if "/.venv" in path}
    before = files_of(ready.home, ready.root) - venv
    ready.run("start", HOME=str(ready.home))
    ready.run("vscode", "install", "--platform", "linux", "--yes", XDG_CONFIG_HOME="")
    assert files_of(ready.home, ready.root) - venv - before
    refused = ready.run("uninstall", XDG_CONFIG_HOME="")
    assert refused.returncode == 1
    assert "there is no terminal to ask on" in refused.stderr
    for what in (".venv", ".cache/embedserve", ".local/share/embedserve", "tasks and hotkeys"):
        assert what in refused.stdout, refused.stdout
    done = ready.run("uninstall", "--yes", XDG_CONFIG_HOME="")
    assert done.returncode == 0, done.stderr
    standard = {str(ready.home / name) for name in (".cache", ".local", ".local/share")}  # empty; other programs' too
    assert files_of(ready.home, ready.root) - before - standard == set()
    assert (user / "tasks.json").read_text() == '{"version": "2.0.0", "tasks": []}\n'
    assert "nothing of embedserve's is on this machine" in ready.run("uninstall", XDG_CONFIG_HOME="").stdout


@pytest.mark.slow
def test_uninstall_keeps_models_and_indexes_when_asked(ready):
    ready.run("start", "qdrant")
    assert ready.run("uninstall", "--yes", "--keep-data").returncode == 0
    assert (ready.home / ".local/share/embedserve/qdrant").exists()
    assert not (ready.root / ".venv").exists()
