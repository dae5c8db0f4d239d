"""From ranked chunks to what is shown: whole functions instead of their parts, each piece of code once.

A chunk that is a part of a definition which is not too long is shown as that whole definition, with all the lines that
the index has of it; its other parts, and whatever else lies inside, are folded into it. So is a text that is there
almost equal again. Pure but for `between`, which gives the chunks of some lines of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from embedserve.indexing.entry import Entry
from embedserve.indexing.ranking import Ranked

MOST_LINES = 120
MOST_CHARACTERS = 6000
NEAR_EQUAL = 0.9  # of the lines of two hits

Between = Callable[[str, int, int], Sequence[Entry]]


@dataclass
class Passage:
    """`entry`: lines and text as they are shown. `at`: the candidate whose place it has; `folded`: the others that it
    holds."""

    at: int
    entry: Entry
    why: list[str]
    folded: list[int] = field(default_factory=list)


def passages(
    ranked: Sequence[Ranked], candidates: Sequence[Entry], between: Between | None, limit: int
) -> list[Passage]:
    """At most `limit`, in the order of `ranked`. `between` None: chunks are shown as they are."""
    shown: list[Passage] = []
    for item in ranked:
        entry = candidates[item.at]
        holder = next((passage for passage in shown if _holds(passage.entry, entry)), None)
        if holder is not None:
            holder.folded.append(item.at)
            continue
        if len(shown) == limit:
            break
        twin = next((passage for passage in shown if _near_equal(candidates[passage.at], entry)), None)
        if twin is not None:
            twin.folded.append(item.at)
            twin.why = [*twin.why, f"also {entry.path}:{entry.start_line}-{entry.end_line}"]
            continue
        whole = whole_definition(entry, between) if between else None
        if whole is None:
            shown.append(Passage(item.at, entry, item.why))
            continue
        inside = [passage for passage in shown if _holds(whole, passage.entry)]
        why = [*item.why, "whole definition"]
        if inside:  # a method was shown, and now its small class is found: it has the method's place
            first = inside[0]
            first.entry, first.folded = whole, [*first.folded, item.at]
            first.why = [*first.why, "whole definition"]
            shown = [passage for passage in shown if passage is first or passage not in inside]
        else:
            shown.append(Passage(item.at, whole, why))
    return shown


def _near_equal(one: Entry, other: Entry) -> bool:
    """Copies of one text, but for a line in ten: a vendored file, a generated one, an old version."""
    shorter, longer = sorted((len(one.text), len(other.text)))
    if shorter < NEAR_EQUAL * longer:
        return False
    lines, others = ({line.strip() for line in entry.text.split("\n")} for entry in (one, other))
    return len(lines & others) >= NEAR_EQUAL * len(lines | others)


def whole_definition(entry: Entry, between: Between) -> Entry | None:
    """The definition that a chunk is a part of, as one entry; None: it is whole already, or too long to be shown."""
    if entry.definition is None:
        return None
    first, last = entry.definition
    if (first, last) == (entry.start_line, entry.end_line) or last - first >= MOST_LINES:
        return None
    if not first <= entry.start_line <= entry.end_line <= last:
        return None
    parts = [part for part in between(entry.path, first, last) if first <= part.start_line and part.end_line <= last]
    if len(parts) < 2 or sum(len(part.text) for part in parts) > MOST_CHARACTERS:
        return None
    text = _joined(parts)
    if text is None:
        return None
    defines = tuple(dict.fromkeys(name for part in parts for name in part.defines))
    return replace(
        entry, start_line=parts[0].start_line, end_line=parts[-1].end_line, text=text, defines=defines, signature=""
    )


def _joined(parts: Sequence[Entry]) -> str | None:
    """Their texts with the blank lines between; None where they lie in one another (parts of one long line)."""
    lines: list[str] = []
    row = parts[0].start_line
    for part in parts:
        if part.start_line < row:
            return None
        lines.extend([""] * (part.start_line - row))
        lines.append(part.text)
        row = part.end_line + 1
    return "\n".join(lines)


def _holds(outer: Entry, inner: Entry) -> bool:
    if outer.path != inner.path or (outer.start_line, outer.end_line) == (inner.start_line, inner.end_line):
        return outer.path == inner.path and outer.text == inner.text
    return outer.start_line <= inner.start_line and inner.end_line <= outer.end_line
