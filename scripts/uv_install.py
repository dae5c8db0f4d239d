"""Installs with uv, as pip is configured: python scripts/uv_install.py FOLDER [what follows `pip install`]...

uv fetches and writes many packages at once; pip takes them one after another and needs ten times as long. But uv reads
none of pip's configuration (a company's index, a proxy, a certificate), so it is told here, by the environment, where
no list of processes shows a password. A setting that uv has no word for leaves the work to pip: the exit code is then
not 0, as it is when uv cannot be had or fails, and the caller installs with pip, whose errors people know.

FOLDER takes uv itself, so that it can be removed afterwards: no environment of ours keeps it.
Works for the environment whose python runs it.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"

# pip's name, uv's variable, and what stands between two values there
TOLD = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", ""),
    "constraint": ("UV_CONSTRAINT", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", ""),
    "proxy": ("ALL_PROXY", ""),
    "timeout": ("UV_HTTP_TIMEOUT", ""),
    "default-timeout": ("UV_HTTP_TIMEOUT", ""),
    "retries": ("UV_HTTP_RETRIES", ""),
}
# What changes neither where packages come from nor which.
OF_NO_EFFECT = {
    *("cache-dir", "no-cache-dir", "compile", "no-compile", "disable-pip-version-check", "no-input", "no-color"),
    *("progress-bar", "quiet", "verbose", "log", "require-virtualenv", "root-user-action", "break-system-packages"),
    *("no-warn-script-location", "no-warn-conflicts", "no-python-version-warning", "exists-action", "config-file"),
}


def settings_of_pip(listed: str) -> dict[str, str]:
    """`pip config list` as one value a name, as `pip install` takes them: the environment, `[install]`, `[global]`."""
    found: dict[str, str] = {}
    for section in ("global.", "install.", ":env:."):
        for line in listed.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(section):
                found[name[len(section) :]] = str(ast.literal_eval(value))
    return found


def told_to_uv(settings: dict[str, str]) -> dict[str, str]:
    """uv's variables for pip's settings; ValueError names the one that uv has no word for."""
    variables = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # pip's: the best version of all indexes
    for name, value in settings.items():
        if name in OF_NO_EFFECT or not value.strip():
            continue
        if name not in TOLD:
            raise ValueError(f"pip's setting {name} cannot be told to uv")
        variable, between = TOLD[name]
        variables[variable] = between.join(value.split()) if between else value
    return variables


def main(folder: str, *arguments: str) -> int:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True)
    try:
        variables = told_to_uv(settings_of_pip(listed.stdout))
    except (ValueError, SyntaxError) as error:
        print(f"uv is not used: {error}")
        return 3
    uv = Path(folder) / "bin/uv"
    if not uv.exists():
        get = ["install", "-q", "--retries", "1", "--no-compile", "--no-deps", "--target", folder]  # pip tries again
        get += ["-c", str(CONSTRAINTS), "uv"]
        if code := subprocess.run([*pip, *get]).returncode:
            return code
    # uv fetches no Python of its own: the packages are for the one that runs this.
    environment = {**os.environ, **variables, "UV_PYTHON_DOWNLOADS": "never"}
    return subprocess.run(
        [str(uv), "pip", "install", "--python", sys.executable, *arguments], env=environment
    ).returncode


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"say where uv goes and what is installed: {(__doc__ or '').splitlines()[0]}")
    sys.exit(main(*sys.argv[1:]))
