"""`embedserve models`: what is known by name, what it is good for, and what of it is on this machine."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

_SHOWN = (
    "id",
    "task",
    "aliases",
    "hub_id",
    "dimension",
    "max_tokens",
    "license",
    "dtypes",
    "matryoshka",
    "least_dimension",
    "prompts",
    "gated",
    "good_for",
    "code_retrieval",
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check",
        metavar="MODEL",
        help="what is understood of this model (id, folder, hub id) before it is served; exit code 1: it cannot be",
    )
    parser.add_argument("--json", action="store_true", help="JSON on stdout")


def run(args: argparse.Namespace) -> int:
    return _check(args.check, args.json) if args.check else _list(args)


def _check(name: str, as_json: bool) -> int:
    """Nothing is downloaded or loaded: the files' own words, strictly read, and what would run them here."""
    from embedserve.errors import SetupError
    from embedserve.serving.inspecting import Fact, inspect
    from embedserve.settings import load_settings

    facts: list[Fact] = []
    problem = ""
    try:
        for fact in inspect(name, load_settings()):
            facts.append(fact)
            if not as_json:
                print(f"{fact.what:<14}{fact.text}")
    except SetupError as error:
        problem = error.message
    if as_json:
        found = {"servable": not problem, "problem": problem, **{fact.what: fact.text for fact in facts}}
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        how = f"can be served: embedserve serve --model {shlex.quote(name)}"
        print(f"cannot be served: {problem}" if problem else how)
    return 1 if problem else 0


def _list(args: argparse.Namespace) -> int:
    from embedserve.backends.select import installed_artefacts
    from embedserve.models.sources import inventory
    from embedserve.settings import load_settings

    home = load_settings(only=("home",)).home
    entries = []
    for spec, source, problem in inventory(home):
        artefacts = installed_artefacts(source, home) if source else []
        entries.append({**_entry(spec, source, problem), "artefacts": artefacts})
    if args.json:
        print(json.dumps(entries, indent=2, ensure_ascii=False))
    else:
        print("\n\n".join("\n".join(_lines(entry)) for entry in entries))
    return 0


def _lines(entry: dict[str, Any]) -> list[str]:
    """One model, for a person: the facts in a line, then a line for each thing that there is to say."""
    bytes_ = entry["disk_bytes"] or entry["download_bytes"]
    facts = [
        f"{entry['dimension']} dimensions" if entry["task"] == "embed" else "a reranker",
        f"up to {entry['max_tokens']:,} tokens",
        f"{bytes_ / 1e6:,.0f} MB" if bytes_ else "size not known",
        entry["license"] or "licence: see its makers' page",
    ]
    names = ", ".join([*entry["aliases"], *([entry["hub_id"]] if entry["hub_id"] else [])])
    said = [
        entry["good_for"],
        f"code retrieval, published: {entry['code_retrieval']}" if entry["code_retrieval"] else "",
        f"prompts: {', '.join(entry['prompts'])}" if entry["prompts"] else "",
        f"dimensions: {_dimensions(entry)}" if entry["matryoshka"] else "",
        f"also called: {names}" if names else "not in the catalog",
        *_on_disk(entry),
    ]
    return [f"{entry['id']}  ({', '.join(facts)})", *(f"    {line}" for line in said if line)]


def _dimensions(entry: dict[str, Any]) -> str:
    if entry["least_dimension"]:
        return f"any from {entry['least_dimension']} to {entry['dimension']}"
    return ", ".join(map(str, entry["matryoshka"]))


def _on_disk(entry: dict[str, Any]) -> list[str]:
    if entry["problem"]:
        return [f"unusable: {entry['problem']}"]
    if not entry["folder"]:
        licence = " (accept its licence on the hub first, then set HF_TOKEN)" if entry["gated"] else ""
        return [f"not on disk: embedserve pull {entry['id']}{licence}"]
    lines = [f"on disk: {entry['folder']} ({entry['origin']} {entry['revision'][:12]})"]
    for artefact in entry["artefacts"]:
        guard = f", guard: {artefact['guard']}" if "guard" in artefact else ""
        lines.append(f"{artefact['precision']} artefact{guard}: {artefact['folder']}")
    return lines


def _entry(spec: Any, source: Any, problem: str) -> dict[str, Any]:
    known = asdict(spec)
    return {
        **{name: known[name] for name in _SHOWN},
        "download_bytes": spec.size_bytes,
        "folder": str(source.folder) if source else None,
        "origin": source.origin if source else None,
        "revision": source.revision if source else spec.revision,
        "disk_bytes": _disk_bytes(source.folder) if source else 0,
        "problem": problem,
    }


def _disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
