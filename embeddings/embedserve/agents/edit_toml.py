"""One table `[container.name]` in a TOML file: appended as a block between two comments, and taken out again.

The text around it is not touched, and the result is read by the standard library's parser before anybody sees it: it
must hold what was there and our entry, no more. (A library that rewrites TOML, tomlkit 0.15, did not give the same
bytes back and failed where the tables of one parent are apart.)
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from embedserve.agents.edit_json import CannotEdit

BEGIN = "# >>> embedserve"
END = "# <<< embedserve"


def with_entry(
    text: str | None, container: str, name: str, entry: Mapping[str, Any], is_ours: Callable[[Any], bool]
) -> str:
    """The text with the table; None: there is no file. Raises CannotEdit."""
    before = text or ""
    found = entry_in(before, container, name)
    if found == entry:
        return before
    if found is not None:
        if not is_ours(found):
            raise CannotEdit(f"[{container}.{name}] is there already and does not run embedserve")
        before = without_entry(before, container, name, is_ours) or ""
    newline = "\r\n" if "\r\n" in before else "\n"
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
    mark = "" if not before or before.endswith("\n") else " [n]"  # a line break was added before the block
    gap = newline if mark else ""
    block = [f"{BEGIN}{mark}", f"[{container}.{name}]", *lines, END, ""]
    after = before + gap + newline.join(block)
    wanted = _parsed(before)
    holder = wanted.setdefault(container, {})
    if not isinstance(holder, dict):
        raise CannotEdit(f"{container} is not a table")
    holder[name] = dict(entry)
    try:
        fits = tomllib.loads(after) == wanted
    except tomllib.TOMLDecodeError:
        fits = False
    if not fits:
        raise CannotEdit(f"{container} is written in a way that a table cannot be added to (an inline table?)")
    return after


def without_entry(text: str, container: str, name: str, is_ours: Callable[[Any], bool]) -> str | None:
    """The inverse; None: nothing is left of the file. Raises CannotEdit."""
    found = entry_in(text, container, name)
    if found is None or not is_ours(found):
        return text
    block = re.compile(rf"^{BEGIN}(?P<mark> \[n\])?[^\n]*\n.*?^{END}[^\n]*(\n|\Z)", re.DOTALL | re.MULTILINE)
    table = re.compile(
        rf"^\[{container}\.\"?{name}\"?(\.[^\]]*)?\][^\n]*\n([^\[\n][^\n]*\n|\n(?=[^\[]))*", re.MULTILINE
    )
    match = block.search(text)
    if match:
        start = match.start()
        if match["mark"]:
            start -= 2 if text[:start].endswith("\r\n") else 1
        after = text[:start] + text[match.end() :]
    else:  # the agent wrote the file anew, without our comments
        after = table.sub("", text)
    wanted = _parsed(text)
    del wanted[container][name]
    if not wanted[container] and container not in _parsed(after):
        del wanted[container]
    if _parsed(after) != wanted:
        raise CannotEdit(f"[{container}.{name}] was changed by hand; take it out by hand")
    return after or None


def entry_in(text: str, container: str, name: str) -> Any:
    """The table's value; None where there is none. Raises CannotEdit."""
    holder = _parsed(text).get(container)
    return holder.get(name) if isinstance(holder, dict) else None


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise CannotEdit(f"it is not valid TOML ({error})") from None
