"""`embedserve models`: what is known by name, and what of it is on this machine."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON list on stdout")


def run(args: argparse.Namespace) -> int:
    from embedserve.backends.select import installed_artefacts
    from embedserve.models.sources import inventory
    from embedserve.settings import load_settings

    home = load_settings().home
    entries = []
    for spec, source, problem in inventory(home):
        artefacts = installed_artefacts(source, home) if source else []
        entries.append({**_entry(spec, source, problem), "artefacts": artefacts})
    if args.json:
        print(json.dumps(entries, indent=2))
        return 0
    for entry in entries:
        names = ", ".join([*entry["aliases"], *([entry["hub_id"]] if entry["hub_id"] else [])])
        print(f"{entry['id']}  {entry['dimension']} dimensions, {entry['max_tokens']} tokens  {entry['license']}")
        print(f"    also: {names}" if names else "    (not in the catalog)")
        if entry["problem"]:
            print(f"    unusable: {entry['problem']}")
        elif entry["folder"]:
            size = entry["disk_bytes"] / 1e6
            print(f"    on disk: {size:.0f} MB in {entry['folder']} ({entry['origin']} {entry['revision'][:12]})")
            for artefact in entry["artefacts"]:
                guard = f", guard: {artefact['guard']}" if "guard" in artefact else ""
                print(f"    {artefact['precision']} artefact{guard} in {artefact['folder']}")
        else:
            size = f"  ({entry['download_bytes'] / 1e6:.0f} MB)" if entry["download_bytes"] else ""
            licence = "  (accept its licence on the hub first, then set HF_TOKEN)" if entry["gated"] else ""
            print(f"    not on disk: embedserve pull {entry['id']}{size}{licence}")
    return 0


def _entry(spec: Any, source: Any, problem: str) -> dict[str, Any]:
    known = asdict(spec)
    kept = ("id", "aliases", "hub_id", "dimension", "max_tokens", "license", "dtypes", "matryoshka", "prompts", "gated")
    return {
        **{name: known[name] for name in kept},
        "download_bytes": spec.size_bytes,
        "folder": str(source.folder) if source else None,
        "origin": source.origin if source else None,
        "revision": source.revision if source else spec.revision,
        "disk_bytes": _disk_bytes(source.folder) if source else 0,
        "problem": problem,
    }


def _disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
