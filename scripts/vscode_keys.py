"""The hotkeys: which sets there are, what each key is to the editor already, and when two keys are the same.

Facts are VS Code's default keybindings. Python 3.8, standard library only.
"""

from __future__ import annotations

import copy
import re
from typing import Any, NamedTuple

ALIASES = {"win": "cmd", "meta": "cmd", "option": "alt"}
# Scan codes ([Minus], [Digit9]) name a place on the keyboard; on a US layout it is this key.
CODES = {"minus": "-", "equal": "=", "semicolon": ";", "comma": ",", "period": ".", "slash": "/", "backquote": "`"}


class Taken(NamedTuple):
    """What the editor does with a key by itself, and what becomes of it."""

    key: str
    use: str
    then: str


TAKEN = {
    "linux": [
        Taken("-", "Go Forward", "kept: ours acts only where there is nothing to go forward to"),
        Taken("=", "Zoom In", "Ctrl+= still does it"),
        Taken("6", "^^ in a focused terminal", "kept: ours does not act in a terminal"),
    ],
    "windows": [
        Taken("-", "Zoom Out", "Ctrl+- still does it"),
        Taken("=", "Zoom In", "Ctrl+= still does it"),
        Taken("6", "^^ in a focused terminal", "kept: ours does not act in a terminal"),
        Taken("0", "switching the input language, in Windows itself", "may never reach the editor"),
    ],
    "macos": [
        Taken("-", "Zoom Out", "Cmd+- still does it"),
        Taken("=", "Zoom In", "Cmd+= still does it"),
    ],
}
TAKEN["wsl"] = TAKEN["windows"]


def bindings(template: list[dict[str, Any]], keys: str) -> list[dict[str, Any]]:
    """The template's bindings with the keys of that set: `default`, or `alt` (Ctrl+K, then the same last key)."""
    made = copy.deepcopy(template)
    if keys == "alt":
        for binding in made:
            modifier, last = binding["key"].split("+", 1)[0], binding["key"].rsplit("+", 1)[-1]
            binding["key"] = f"{modifier}+k {last}"
            # Two strokes take nothing from the editor, so that they act everywhere.
            binding["when"] = re.sub(r" && !\w+", "", binding["when"])
    return made


def strokes(key: Any) -> tuple[str, ...]:
    """A hotkey in one spelling, a stroke an entry: `shift+meta+9` and `Cmd+Shift+[Digit9]` are the same."""
    return tuple(_stroke(stroke) for stroke in str(key).lower().split())


def clash(one: Any, other: Any) -> bool:
    """Whether one keeps the other from acting: the same, or the beginning of it."""
    a, b = strokes(one), strokes(other)
    shorter = min(len(a), len(b))
    return shorter > 0 and a[:shorter] == b[:shorter]


def shown(key: str, platform: str) -> str:
    """As people write it: Ctrl+Shift+9, ⌘⇧9, Ctrl+K 9."""
    mac = {"cmd": "⌘", "shift": "⇧"}
    words = []
    for stroke in key.split():
        parts = stroke.split("+") if not stroke.endswith("+") else [*stroke[:-2].split("+"), "+"]
        if platform == "macos":
            words.append("".join(mac.get(part, part.upper()) for part in parts))
        else:
            words.append("+".join(part.capitalize() for part in parts))
    return " ".join(words)


def takes(platform: str, keys: str) -> list[str]:
    """What this set takes from the editor on this platform, a line each."""
    if keys == "alt":
        return ["Ctrl+K followed by a digit, - or = is nothing of the editor's own: nothing is taken."]
    modifier = "⌘⇧" if platform == "macos" else "Ctrl+Shift+"
    lines = [f"{modifier}{t.key} is {t.use}: {t.then}" for t in TAKEN[platform]]
    return [*lines, "Another set that takes nothing (Ctrl+K, then the same last key): --keys alt"]


def _stroke(stroke: str) -> str:
    parts = ([*stroke[:-1].split("+")[:-1], "+"]) if stroke.endswith("++") else stroke.split("+")
    last = parts[-1]
    if last.startswith("[") and last.endswith("]"):
        code = re.sub(r"^(digit|key)(?=.$)", "", last[1:-1])
        last = CODES.get(code, code)
    return "+".join([*sorted(ALIASES.get(p, p) for p in parts[:-1]), last])
