"""Packages come with uv from where pip would take them, with its certificates and passwords, or they come with pip."""

import base64
import http.server
import importlib.util
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/uv_install.py"


def load():
    spec = importlib.util.spec_from_file_location("uv_install", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


uv_install = load()


def test_the_environment_wins_over_install_and_install_over_global_as_in_pip():
    listed = (
        ":env:.index-url='https://env/simple'\n"
        "global.index-url='https://global/simple'\n"
        "global.timeout='9'\n"
        "install.timeout='60'\n"
        "freeze.timeout='1'\n"
    )
    assert uv_install.settings_of_pip(listed) == {"index-url": "https://env/simple", "timeout": "60"}


def test_each_of_pips_settings_that_says_where_packages_come_from_is_told_to_uv():
    told = uv_install.told_to_uv(
        {
            "index-url": "https://a/simple",
            "extra-index-url": "https://b/simple\nhttps://c/simple",
            "find-links": "/wheels\nhttps://d/",
            "constraint": "/etc/constraints.txt",
            "trusted-host": "a b",
            "cert": "/etc/my certificates.pem",
            "proxy": "http://proxy:3128",
            "disable-pip-version-check": "1",
        }
    )
    assert told == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_DEFAULT_INDEX": "https://a/simple",
        "UV_INDEX": "https://b/simple https://c/simple",
        "UV_FIND_LINKS": "/wheels,https://d/",
        "UV_CONSTRAINT": "/etc/constraints.txt",
        "UV_INSECURE_HOST": "a b",
        "SSL_CERT_FILE": "/etc/my certificates.pem",
        "ALL_PROXY": "http://proxy:3128",
    }


@pytest.mark.parametrize("name", ["client-cert", "require-hashes", "only-binary", "pre", "one-of-next-year"])
def test_a_setting_of_pips_that_uv_has_no_word_for_leaves_the_work_to_pip(name):
    with pytest.raises(ValueError, match=f"pip's setting {name} cannot be told to uv"):
        uv_install.told_to_uv({name: "1"})


def test_nothing_is_installed_where_a_setting_cannot_be_told(tmp_path):
    environment = {**os.environ, "PIP_REQUIRE_HASHES": "1"}
    run = subprocess.run([sys.executable, SCRIPT, tmp_path, "x"], capture_output=True, text=True, env=environment)
    assert run.returncode == 3
    assert "uv is not used: pip's setting require-hashes" in run.stdout
    assert not list(tmp_path.iterdir())


def wheel(folder: Path, name: str) -> None:
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        info = f"{name}-1.0.dist-info"
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture
def company(tmp_path):
    """A package index that asks for a name and a password, as companies have them."""
    packages = tmp_path / "index/onlyhere"
    packages.mkdir(parents=True)
    wheel(packages, "onlyhere")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "index"))

        def do_GET(self):
            if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"me:secret").decode():
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            super().do_GET()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:secret@127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_uv_takes_packages_from_the_index_that_pip_is_configured_with(tmp_path, company):
    """In a folder with spaces and Cyrillic, for the environment whose python runs the script."""
    place = tmp_path / "мій venv"
    ours = importlib.util.find_spec("pip")  # unpacking another takes six seconds of a core
    subprocess.run([sys.executable, "-m", "venv", *(["--without-pip"] if ours else []), place], check=True)
    if ours:
        (packages,) = place.glob("lib/*/site-packages")
        (packages / "pip").symlink_to(Path(ours.origin).parent, target_is_directory=True)
    (place / "pip.conf").write_text(f"[global]\nindex-url = {company}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    environment |= {"UV_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    (tmp_path / "uv/bin").mkdir(parents=True)
    (tmp_path / "uv/bin/uv").symlink_to(Path(sys.prefix) / "bin/uv")
    run = subprocess.run(
        [place / "bin/python", SCRIPT, tmp_path / "uv", "onlyhere"], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert subprocess.run([place / "bin/python", "-c", "import onlyhere"]).returncode == 0
    assert "secret" not in run.stdout + run.stderr
