"""VS Code's User folder on each platform, and its files: read, backed up, written whole. Does not know what is in them.

Python 3.8, standard library only.
"""

from __future__ import annotations

import difflib
import glob
import os
import subprocess
import sys
import time
from typing import NamedTuple


class Failed(Exception):
    """Shown to the user; nothing was changed."""


class Plan(NamedTuple):
    """What a file is to become; None: no such file. `clashes` are for the user to decide on."""

    before: str | None
    after: str | None
    clashes: list[str]


def read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise Failed(f"{path} is not UTF-8. Nothing was changed.") from None


def write(path: str, plan: Plan) -> None:
    """Keeps a copy of what was there; the new file appears whole or not at all."""
    if plan.before is not None:
        backup = "{}.{}.bak".format(path, time.strftime("%Y%m%d-%H%M%S"))
        with open(backup, "wb") as file:
            file.write(plan.before.encode("utf-8"))
        print(f"kept a copy of yours: {backup}")
    if plan.after is None:
        os.remove(path)
        print(f"removed {path} (it held nothing but ours)")
        return
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(plan.after.encode("utf-8"))
    if plan.before is not None:
        os.chmod(temporary, os.stat(path).st_mode & 0o777)
    os.replace(temporary, path)
    print(f"wrote {path}")


def diff(path: str, plan: Plan) -> str:
    def lines(text: str | None) -> list[str]:
        return [line + "\n" for line in (text or "").splitlines()]

    return "".join(difflib.unified_diff(lines(plan.before), lines(plan.after), path, path + " (new)"))


def this_platform() -> str:
    if sys.platform == "darwin":
        return "macos"
    if os.name == "nt":
        return "windows"
    return "wsl" if os.environ.get("WSL_DISTRO_NAME") or "microsoft" in os.uname().release.lower() else "linux"


def user_dir(given: str) -> str:
    """A folder that was named; raises Failed where there is none."""
    folder = os.path.expanduser(given)
    if not os.path.isdir(folder):
        raise Failed(f"VS Code has no folder {folder}. Start VS Code once, or name the folder: --user-dir DIR")
    return folder


def config_base(platform: str) -> str:
    """The folder in which each editor has a folder of its own; empty where Windows' cannot be found."""
    if platform == "macos":
        return os.path.expanduser("~/Library/Application Support")
    if platform == "linux":
        return os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.environ.get("APPDATA", "") if platform == "windows" else wsl_appdata()


def wsl_appdata() -> str:
    """%APPDATA% of the Windows user as a path of this system: VS Code itself runs on the Windows side."""
    try:
        windows = subprocess.run(
            ["cmd.exe", "/c", "echo %APPDATA%"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20
        ).stdout.decode("utf-8", "replace")
        path = subprocess.run(["wslpath", "-u", windows.strip()], stdout=subprocess.PIPE, timeout=20)
        if path.returncode == 0 and path.stdout.strip():
            return path.stdout.decode("utf-8").strip()
    except (OSError, subprocess.TimeoutExpired):
        pass
    homes = glob.glob(os.path.join(os.environ.get("WSL_USERS", "/mnt/c/Users"), "*", "AppData", "Roaming", "Code"))
    return os.path.dirname(homes[0]) if len(homes) == 1 else ""
