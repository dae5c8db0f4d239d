"""One entry in a JSON file with or without comments: put in, replaced, taken out; every other byte stays.

No marker is written: Claude Code and others read their files as plain JSON, where a comment is an error. So an entry
is known by its name and by the command that it runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from embedserve.agents import jsonc


class CannotEdit(Exception):
    """The file is not as it must be; the message says what is wrong with it."""


def with_entry(
    text: str | None, container: str, name: str, entry: Mapping[str, Any], is_ours: Callable[[Any], bool]
) -> str:
    """The text with `entry` as root[container][name]; None: there is no file. Raises CannotEdit."""
    root = _root(text or "")
    if root is None:
        made = json.dumps({container: {name: entry}}, indent=2, ensure_ascii=False)
        return f"{(text or '').rstrip()}\n{made}\n".lstrip("\n")
    assert text is not None
    holder = _member(root, container)
    if holder is None:
        return _inserted(text, root, container, {name: entry})
    if not isinstance(holder.node.value, dict):
        raise CannotEdit(f'"{container}" is not an object')
    found = _member(holder.node, name)
    if found is None:
        return _inserted(text, holder.node, name, entry)
    if not is_ours(found.node.value):
        raise CannotEdit(f'"{container}" has an entry "{name}" already that does not run embedserve')
    if found.node.value == entry:
        return text
    return jsonc.edit(text, [(found.node.start, found.node.end, _dumped(text, found.start, entry))])


def without_entry(text: str, container: str, name: str, is_ours: Callable[[Any], bool]) -> str | None:
    """The inverse: the text without our entry, and without what is left empty by that; None: nothing is left of the
    file. The same text where there is no entry of ours. Raises CannotEdit."""
    root = _root(text)
    holder = None if root is None else _member(root, container)
    if root is None or holder is None or holder.node.items is None:
        return text
    found = _member(holder.node, name)
    if found is None or not is_ours(found.node.value):
        return text
    comments = jsonc.parse(text).comments
    if len(holder.node.items) > 1 or any(holder.start < comment.start < holder.end for comment in comments):
        return _removed(text, holder.node, found)
    if len(root.items or []) == 1 and not comments:
        return None
    return _removed(text, root, holder)


def entry_in(text: str, container: str, name: str) -> Any:
    """The value of root[container][name]; None where there is none. Raises CannotEdit."""
    root = _root(text)
    value = root.value if root is not None else {}
    holder = value.get(container)
    return holder.get(name) if isinstance(holder, dict) else None


def _root(text: str) -> jsonc.Node | None:
    try:
        root = jsonc.parse(text).root
    except jsonc.JsoncError as error:
        raise CannotEdit(f"it is not valid JSON ({error})") from None
    if root is not None and not isinstance(root.value, dict):
        raise CannotEdit("it is not a JSON object")
    return root


def _member(node: jsonc.Node, key: str) -> jsonc.Item | None:
    found = [item for item in node.items or [] if item.key == key]
    if len(found) > 1:
        raise CannotEdit(f'"{key}" is there {len(found)} times')
    return found[0] if found else None


def _inserted(text: str, node: jsonc.Node, key: str, value: Any) -> str:
    """With a last member more."""
    items = node.items or []
    close = node.end - 1
    newline = jsonc.newline_of(text)
    if items and jsonc.indent_at(text, items[-1].start) is None:  # all on one line
        member = f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        last = items[-1]
        if last.comma is not None:
            return jsonc.edit(text, [(last.comma + 1, last.comma + 1, f" {member},")])
        return jsonc.edit(text, [(last.end, last.end, f", {member}")])
    base = jsonc.line_indent(text, node.start)
    indent = jsonc.line_indent(text, items[-1].start) if items else base + _unit(text)
    member = f"{json.dumps(key)}: {_written(value, indent, _unit(text), newline)}"
    if not items:
        at = len(text[:close].rstrip())
        return jsonc.edit(text, [(at, close, f"{newline}{indent}{member}{newline}{base}")])
    trailing = items[-1].comma is not None
    at = len(text[:close].rstrip())
    edits = [(at, at, f"{newline}{indent}{member}{',' if trailing else ''}")]
    if not trailing:
        comma = items[-1].end
        edits = [(at, at, "," + edits[0][2])] if comma == at else [(comma, comma, ","), *edits]
    return jsonc.edit(text, edits)


def _removed(text: str, node: jsonc.Node, item: jsonc.Item) -> str:
    """Without a member: its own comma, or (for the last) the one before it, goes with it."""
    items = node.items or []
    at = items.index(item)
    end = item.end if item.comma is None else item.comma + 1
    start = len(text[: item.start].rstrip(" \t"))
    if text[:start].endswith("\n"):
        start -= 2 if text[:start].endswith("\r\n") else 1
    edits = [(start, end, "")]
    if len(items) == 1:
        edits = [(start, node.end - 1 if not text[end : node.end - 1].strip() else end, "")]
    elif item.comma is None:
        before = items[at - 1].comma
        assert before is not None
        edits.append((before, before + 1, ""))
    elif at == 0 and jsonc.indent_at(text, item.start) is None:  # the first of one line: the space after it goes
        edits = [(item.start, len(text) - len(text[end:].lstrip(" \t")), "")]
    return jsonc.edit(text, edits)


def _dumped(text: str, at: int, value: Any) -> str:
    """In the style of the place: on one line, or indented as its line is."""
    if jsonc.indent_at(text, at) is None:
        return json.dumps(value, ensure_ascii=False)
    return _written(value, jsonc.line_indent(text, at), _unit(text), jsonc.newline_of(text))


def _written(value: Any, indent: str, unit: str, newline: str) -> str:
    lines = json.dumps(value, indent=unit, ensure_ascii=False).split("\n")
    return (newline + indent).join(lines)


def _unit(text: str) -> str:
    """What one level is indented by: as the root's first member is."""
    root = jsonc.parse(text).root
    items = root.items if root is not None else None
    indent = jsonc.indent_at(text, items[0].start) if items else None
    return indent or "  "
