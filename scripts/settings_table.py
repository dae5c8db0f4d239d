#!/usr/bin/env python3
"""Prints the settings table of the READMEs from the code: `scripts/settings_table.py`."""

from embedserve.settings import PREFIX, Settings


def rows() -> list[tuple[str, str, str]]:
    """(variable, default, description) of every setting."""
    found = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        if isinstance(field.default, bool):
            default = str(field.default).lower()
        found.append((PREFIX + name.upper(), default, field.description or ""))
    return found


def table() -> str:
    """The table in Markdown."""
    lines = ["| Variable | Default | What it does |", "|---|---|---|"]
    for variable, default, description in rows():
        shown = f"`{default}`" if default else ""
        lines.append(f"| `{variable}` | {shown} | {description} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
