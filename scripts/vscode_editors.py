"""Which editors of VS Code's family there are on this machine, and where each keeps its user settings.

Python 3.8, standard library only.
"""

from __future__ import annotations

import os
import re
import sys
from typing import NamedTuple

from vscode_user import Failed, config_base

NAMES = {
    "VS Code": "Code",
    "VS Code Insiders": "Code - Insiders",
    "VSCodium": "VSCodium",
    "VSCodium Insiders": "VSCodium - Insiders",
    "Cursor": "Cursor",
    "Windsurf": "Windsurf",
    "Code - OSS": "Code - OSS",
}
FLATPAKS = {
    "VS Code (Flatpak)": ("com.visualstudio.code", "Code"),
    "VS Code Insiders (Flatpak)": ("com.visualstudio.code.insiders", "Code - Insiders"),
    "VSCodium (Flatpak)": ("com.vscodium.codium", "VSCodium"),
    "Code - OSS (Flatpak)": ("com.visualstudio.code-oss", "Code - OSS"),
}
BACKUP = re.compile(r"(tasks|keybindings)\.json\.\d{8}-\d{6}\.bak")


class Editor(NamedTuple):
    name: str
    folder: str  # its User folder; it may not be there yet


def found(platform: str) -> list[Editor]:
    """The editors that were started here at least once, VS Code first."""
    base = config_base(platform)
    places = [Editor(name, os.path.join(base, folder, "User")) for name, folder in NAMES.items()] if base else []
    if platform == "linux":
        apps = os.path.expanduser("~/.var/app")
        places += [Editor(n, os.path.join(apps, app, "config", f, "User")) for n, (app, f) in FLATPAKS.items()]
    return [editor for editor in places if os.path.isdir(os.path.dirname(editor.folder))]


def choose(platform: str, wanted: str | None, everywhere: bool) -> list[Editor]:
    """The editors to change: the one named, all, the only one, or those that are chosen on the terminal."""
    here = found(platform)
    if not here:
        base = config_base(platform)
        if not base:
            raise Failed("Windows' %APPDATA% could not be found. Name VS Code's folder: --user-dir .../Code/User")
        folder = os.path.join(base, "Code", "User")
        raise Failed(f"VS Code has no folder {folder}. Start VS Code once, or name the folder: --user-dir DIR")
    if wanted:
        named = [editor for editor in here if editor.name.lower() == wanted.lower()]
        if not named:
            raise Failed("there is no {} here; there is: {}".format(wanted, ", ".join(e.name for e in here)))
        return named
    if everywhere or len(here) == 1:
        return here
    for number, editor in enumerate(here, start=1):
        print(f"  {number}  {editor.name:<28}{editor.folder}")
    if not sys.stdin.isatty():
        raise Failed("several editors are here: name one (--editor 'VSCodium'), or --all. Nothing was changed.")
    answer = input("Which? A number, several with commas, or all: ").strip().lower()
    if answer == "all":
        return here
    try:
        return [here[int(word) - 1] for word in answer.split(",") if int(word) > 0]
    except (ValueError, IndexError):
        raise Failed("nothing was changed.") from None


def backups(folder: str) -> list[str]:
    """The copies that we kept of files in this folder."""
    try:
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if BACKUP.fullmatch(name)]
    except OSError:
        return []
