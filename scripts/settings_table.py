#!/usr/bin/env python3
"""Prints what the READMEs and .env.example say of the settings, from the code:

    scripts/settings_table.py                        the table of the READMEs
    scripts/settings_table.py --env > .env.example   every setting with its default

It knows the service's settings from their definition. Those of scripts/manage.sh, the compose files, Qdrant and the
hub have no definition to read; they are listed here, and tests/test_docs.py holds the list against the files that read
them.
"""

import sys
import textwrap

from embedserve.settings import PREFIX, Settings

HEAD = """\
# Copy to .env and uncomment what you want to change. Every command reads it, natively and in Docker; the environment
# wins over it. `docker compose --env-file .env -f embeddings/docker-compose.yml up -d` reads it too.
# Each line shows the default. An empty value means unset. What is in force, and from where: scripts/manage.sh settings
# Made by: scripts/settings_table.py --env > .env.example
"""

# (chapter, [(variable, default, what it does)])
OTHERS = [
    (
        "scripts/manage.sh",
        [
            (
                "EMBEDSERVE_RUNTIME",
                "auto",
                "docker or native; auto: the one it ran in last, at first Docker if it runs",
            ),
            ("EMBEDSERVE_START_TIMEOUT", "900", "Seconds that a start waits; the first one may download a model"),
            ("EMBEDSERVE_EXTRAS", "search", "What the Docker image holds beside the base; `search torch` adds PyTorch"),
            (
                "TORCH_INDEX",
                "https://download.pytorch.org/whl/cpu",
                "Where PyTorch comes from, if it is needed; empty: pip's own index",
            ),
        ],
    ),
    (
        "Where the commands find the service (index, search, mcp, doctor)",
        [("EMBEDDING_URL", "", "A service on another machine; empty: this one, on EMBEDDING_PORT")],
    ),
    (
        "Qdrant",
        [
            ("QDRANT_URL", "", "A Qdrant on another machine, which is used in place of ours; empty: ours"),
            ("QDRANT_PORT", "6333", "Port of ours"),
            (
                "QDRANT_GRPC_PORT",
                "6334",
                "gRPC, beside REST; natively `off` leaves it out, empty: the port after REST's",
            ),
            ("QDRANT_API_KEY", "", "Key that clients must show; empty: none"),
            ("QDRANT_STORAGE", "~/.local/share/embedserve/qdrant", "Folder of the vectors (native)"),
            ("QDRANT_IMAGE", "qdrant/qdrant:v1.19.1", "Image (Docker)"),
            ("QDRANT_NOFILE", "65535", "Files that the container may open; a rootless engine allows fewer"),
        ],
    ),
    ("The Doctown worker in Docker", [("DOCTOWN_PORT", "8000", "Its port")]),
    (
        "The model hub",
        [
            ("HF_TOKEN", "", "For gated models"),
            ("HF_ENDPOINT", "https://huggingface.co", "A mirror"),
            ("HF_HOME", "~/.cache/huggingface", "Folder of what it downloads (native)"),
        ],
    ),
]


def rows() -> list[tuple[str, str, str]]:
    """(variable, default, description) of every setting of the service."""
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


def example() -> str:
    """The text of .env.example."""
    lines = [HEAD]
    for chapter, settings in [*OTHERS[:1], ("The embedding server", rows()), *OTHERS[1:]]:
        lines.append(f"# --- {chapter}\n")
        for variable, default, description in settings:
            lines += [*(f"# {line}" for line in textwrap.wrap(description, 116)), f"#{variable}={default}", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(example() if sys.argv[1:] == ["--env"] else table(), end="" if sys.argv[1:] else "\n")
