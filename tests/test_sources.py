"""One source of settings: every command finds the same values in the same order, and says where from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedserve import sources
from embedserve.client_settings import client_settings, grpc_port, qdrant_port
from embedserve.errors import SettingsError
from support.processes import EMBEDSERVE, clean_environment

ROOT = Path(__file__).parent.parent
EMPTY = {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A clone with an .env and a user with a file; gives (environment, clone, user's file)."""
    root, config = tmp_path / "my clone", tmp_path / "config"
    (root / "scripts").mkdir(parents=True)
    (root / "scripts/manage.sh").touch()
    (config / "embedserve").mkdir(parents=True)
    monkeypatch.setenv("EMBEDSERVE_ROOT", str(root))
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(config)}, root / ".env", config / "embedserve/config.env"


def test_flag_environment_dot_env_and_the_users_file_win_in_this_order(checkout):
    environ, dot_env, user = checkout
    user.write_text("EMBEDDING_PORT=4003\nQDRANT_PORT=6003\nEMBEDDING_API_KEY=k\nHF_TOKEN=t\n")
    dot_env.write_text("EMBEDDING_PORT=4002\nQDRANT_PORT=6002\n")
    environ["EMBEDDING_PORT"] = "4001"
    sources.fill(environ)
    found = client_settings(environ, qdrant_url="http://there:1")
    assert (found.embeddings_url.value, found.embeddings_url.origin) == ("http://127.0.0.1:4001/v1", "environment")
    assert (found.qdrant_url.value, found.qdrant_url.origin) == ("http://there:1", "--qdrant-url")
    assert (found.api_key.value, found.api_key.origin) == ("k", str(user))
    assert environ["HF_TOKEN"] == "t"
    found = client_settings(environ)
    assert (found.qdrant_url.value, found.qdrant_url.origin) == ("http://127.0.0.1:6002", str(dot_env))


def test_a_url_and_a_port_for_one_thing_the_earlier_source_wins_then_the_url(checkout):
    environ, dot_env, _ = checkout
    dot_env.write_text("QDRANT_URL=http://127.0.0.1:7001\n")
    environ["QDRANT_PORT"] = "7002"
    sources.fill(environ)
    assert client_settings(environ).qdrant_url.value == "http://127.0.0.1:7002"
    assert qdrant_port(environ) == 7002
    del environ["QDRANT_PORT"]
    assert client_settings(environ).qdrant_url.value == "http://127.0.0.1:7001"
    assert qdrant_port(environ) == 7001  # a Qdrant of ours starts where the clients look


@pytest.mark.parametrize(
    ("given", "url", "port"),
    [
        ({}, "http://127.0.0.1:6333", 6333),
        ({"QDRANT_PORT": "7000"}, "http://127.0.0.1:7000", 7000),
        ({"QDRANT_URL": "http://localhost", "QDRANT_PORT": "7000"}, "http://localhost:7000", 7000),
        ({"QDRANT_URL": "https://x.cloud:6333", "QDRANT_PORT": "7000"}, "https://x.cloud:6333", 7000),
        ({"QDRANT_URL": "http://127.0.0.1:7001"}, "http://127.0.0.1:7001", 7001),
    ],
)
def test_qdrants_url_and_port_know_each_other(given, url, port):
    environ = {**EMPTY, **given}
    assert client_settings(environ).qdrant_url.value == url
    assert qdrant_port(environ) == port


@pytest.mark.parametrize(
    ("name", "value"),
    [("EMBEDDING_PORT", "http"), ("QDRANT_PORT", "99999"), ("QDRANT_URL", "http://x:y"), ("EMBEDDING_URL", "x")],
)
def test_a_wrong_address_is_named(name, value):
    with pytest.raises(SettingsError, match=f"{name}={value}"):
        client_settings({**EMPTY, name: value})


def test_a_servers_wrong_setting_stops_no_client():
    assert client_settings({**EMPTY, "EMBEDDING_CACHE_MEMORY": "lots", "EMBEDDING_NONSENSE": "1"})


def test_one_home_wherever_a_command_is_started(checkout):
    environ, dot_env, _ = checkout
    dot_env.write_text("EMBEDDING_HOME=./models here\nEMBEDDING_MODEL=../a model\n")
    sources.fill(environ)
    assert environ["EMBEDDING_HOME"] == f"{dot_env.parent}/models here"
    assert Path(environ["EMBEDDING_MODEL"]).resolve() == dot_env.parent.parent / "a model"


def test_an_empty_value_in_the_environment_hides_the_files(checkout):
    environ, dot_env, _ = checkout
    dot_env.write_text("EMBEDDING_API_KEY=k\n")
    environ["EMBEDDING_API_KEY"] = ""
    sources.fill(environ)
    assert client_settings(environ).api_key.value is None


def test_the_other_names_of_a_setting_are_read_everywhere(checkout):
    environ, dot_env, _ = checkout
    dot_env.write_text("SEMAPHORE_VALUE=5\nQDRANT__SERVICE__API_KEY=q\nEMBEDDING_SEMAPHORE_VALUE=\n")
    sources.fill(environ)
    assert (environ["EMBEDDING_SEMAPHORE_VALUE"], environ["QDRANT_API_KEY"]) == ("5", "q")


@pytest.mark.parametrize("line", ["EMBEDDING_PORT 4000", "A-B=1"])
def test_a_broken_line_is_quoted_with_its_file(checkout, line):
    _, dot_env, _ = checkout
    dot_env.write_text(line + "\n")
    with pytest.raises(SettingsError, match=f"(?s){dot_env}.*{line.partition('=')[0]}"):
        sources.read(dot_env)


@pytest.mark.parametrize("command", ["index", "search", "mcp", "doctor"])
def test_every_command_says_where_its_values_come_from(checkout, command):
    environ, dot_env, _ = checkout
    dot_env.write_text("EMBEDDING_PORT=4002\nQDRANT_API_KEY=secret\nEMBEDDING_CACHE_DISK=wrong\n")
    env = clean_environment(**environ, EMBEDSERVE_ROOT=str(dot_env.parent))
    done = subprocess.run([*EMBEDSERVE, command, "--show-settings"], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "http://127.0.0.1:4002/v1" in rows["embeddings_url"]
    assert rows["embeddings_url"].endswith(str(dot_env))
    assert "(set)" in rows["qdrant_api_key"]
    assert "secret" not in done.stdout
    assert rows["qdrant_url"].endswith("default")


def test_the_server_says_it_too_and_names_the_file_of_an_unknown_setting(checkout):
    environ, dot_env, _ = checkout
    dot_env.write_text("EMBEDDING_PORT=4002\n")
    env = clean_environment(**environ, EMBEDSERVE_ROOT=str(dot_env.parent), EMBEDDING_BACKEND="fake")
    command = [*EMBEDSERVE, "serve", "--show-settings", "--model", "m"]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert f"EMBEDDING_PORT=4002  # {dot_env}" in done.stdout
    assert "EMBEDDING_BACKEND=fake  # environment" in done.stdout
    assert "EMBEDDING_MODEL=m  # flag" in done.stdout
    assert "EMBEDDING_THREADS=0  # default" in done.stdout
    dot_env.write_text("EMBEDDING_PROT=4002\n")
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 2
    assert f"unknown setting EMBEDDING_PROT in {dot_env}; the nearest known one is EMBEDDING_PORT" in done.stderr


def test_help_is_had_whatever_the_files_say(checkout):
    environ, dot_env, _ = checkout
    dot_env.write_text("nonsense\n")
    env = clean_environment(**environ, EMBEDSERVE_ROOT=str(dot_env.parent))
    assert subprocess.run([*EMBEDSERVE, "search", "--help"], env=env, stdout=subprocess.DEVNULL).returncode == 0
    done = subprocess.run([*EMBEDSERVE, "search", "x"], env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "this line is not NAME=value: nonsense" in done.stderr


NAMES = st.sampled_from(
    ["EMBEDDING_HOME", "EMBEDDING_MODEL", "EMBEDDING_RERANK_MODEL", "QDRANT_STORAGE", "QDRANT_URL", "Q_1"]
)
VALUES = st.text(st.sampled_from("ab1 /.~\"'#$(){}=\\є\t"), max_size=12)
LINES = st.one_of(
    st.builds("{}={}".format, NAMES, VALUES),
    st.builds("export {}={}".format, NAMES, VALUES),
    st.builds('  {}="{}" # comment'.format, NAMES, VALUES),
    st.sampled_from(["", "# a comment", "   ", "\t# indented"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_manage_sh_and_python_read_a_file_in_the_same_way(tmp_path_factory, lines, end, bom):
    folder = tmp_path_factory.mktemp("env")
    path = folder / ".env"
    path.write_bytes(("\ufeff" * bom + end.join(lines)).encode())
    script = 'ROOT=$1; . "$2/scripts/lib/common.sh"; load_file "$1/.env"; env -0'
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["bash", "-c", script, "-", str(folder), str(ROOT)], env=clean, capture_output=True)
    try:
        expected = sources.read(path)
    except SettingsError:
        assert done.returncode == 2, done
        return
    assert done.returncode == 0, done.stderr
    seen = dict(item.split("=", 1) for item in done.stdout.decode().split("\0") if "=" in item)
    assert {name: seen.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("rest", "value", "expected"),
    [
        (6333, None, (6334, False)),
        (7000, "", (7001, False)),
        (0, None, (None, False)),
        (65535, None, (None, False)),
        (6333, "7777", (7777, True)),
        (6333, "0", (0, True)),
        (6333, "OFF", (None, True)),
    ],
)
def test_the_port_of_grpc_is_the_one_after_rests_unless_said(rest, value, expected):
    environ = {} if value is None else {"QDRANT_GRPC_PORT": value}
    assert grpc_port(rest, environ) == expected


def test_a_port_of_grpc_that_is_none_is_refused():
    with pytest.raises(SettingsError, match="QDRANT_GRPC_PORT=many"):
        grpc_port(6333, {"QDRANT_GRPC_PORT": "many"})
