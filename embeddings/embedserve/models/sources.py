"""From a model's name to files on disk.

A name is a catalog id, alias or hub id; a folder; or any hub id `org/name`. A catalog model is looked for in
`home/models/<id>` (for machines that are given files by hand), in the hub cache at the pinned revision, in an
installed package, and last on the hub. `auto` is jina-code-v2 where it can be had within seconds, else
all-MiniLM-L6-v2 with a notice that says why: never in silence.

Imports neither torch nor transformers and reads no weights, except to hash them.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from pathlib import Path

from embedserve.errors import CheckpointError, ModelUnavailable
from embedserve.models import hub
from embedserve.models.catalog import CATALOG, JINA_CODE_V2, MINILM, find
from embedserve.models.folder import content_revision, describe, missing_files
from embedserve.models.package import check_hashes, package_folder
from embedserve.models.spec import ModelSource, ModelSpec

_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")


def resolve(
    name: str,
    *,
    home: Path,
    offline: bool = False,
    refresh: bool = False,
    progress: hub.Progress | None = None,
) -> ModelSource:
    """The model of this name with its files on disk, downloaded first if need be (unless `offline`).

    refresh: for a hub id without a pinned revision, ask the hub for a newer one even if one is on disk.
    Raises ModelUnavailable (the files cannot be had: why, and how to get them) or CheckpointError (the files
    are there and are not a model that we can serve).
    """
    if spec := find(name):
        return at_hand(spec, home) or _download(spec, offline, progress)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _from_folder(folder, home)
    if not is_hub_id(name):
        raise ModelUnavailable(_unknown(name))
    found = hub.cached(name, None)
    if found is None or refresh:
        _refuse_offline(name, offline)
        found = hub.download(name, None, progress)
    return _from_hub(name, *found)


def is_hub_id(name: str) -> bool:
    """Whether it has the form org/name and is no path."""
    return not name.startswith(("/", ".", "~")) and bool(_HUB_ID.match(name))


def resolve_auto(home: Path, *, offline: bool = False, progress: hub.Progress | None = None) -> tuple[ModelSource, str]:
    """The default model, and a notice to show loudly when it is not jina-code-v2 ("" when it is)."""
    if source := at_hand(JINA_CODE_V2, home):
        return source, ""
    try:
        _refuse_offline(JINA_CODE_V2.id, offline)
        if reason := hub.silence(JINA_CODE_V2.hub_id or "", JINA_CODE_V2.revision):
            raise ModelUnavailable(reason)
        return _download(JINA_CODE_V2, offline, progress), ""
    except ModelUnavailable as error:
        reason = error.message.rstrip(".")
    source = at_hand(MINILM, home)
    if source is None:
        raise ModelUnavailable(
            f"no model can be served. {JINA_CODE_V2.id}: {reason}. {MINILM.id}: it is not on this machine "
            f"either; pip install 'embedserve[minilm]' brings it without a model hub. {how_to_get(JINA_CODE_V2, home)}"
        )
    return source, (
        f"{JINA_CODE_V2.id} is not at hand ({reason}), so {MINILM.id} is served: a small general model, weaker "
        f"on code. {how_to_get(JINA_CODE_V2, home)}"
    )


def at_hand(spec: ModelSpec, home: Path) -> ModelSource | None:
    """The catalog model if its files are on this machine; asks no network."""
    own = home / "models" / spec.id
    if own.is_dir() and not missing_files(own):
        return _checked(ModelSource(spec, own, "folder", content_revision(own, home)))
    if spec.hub_id and (found := hub.cached(spec.hub_id, spec.revision)):
        return _checked(ModelSource(spec, found[0], "hub", found[1]))
    if folder := package_folder(spec):  # its hashes are those of the pinned revision
        return _checked(ModelSource(spec, folder, "package", spec.revision or ""))
    return None


def inventory(home: Path) -> list[tuple[ModelSpec, ModelSource | None, str]]:
    """(spec, source if on disk, what is wrong with it) of the catalog, and of what else was put or pulled."""
    entries: list[tuple[ModelSpec, ModelSource | None, str]] = []
    for spec in CATALOG:
        try:
            entries.append((spec, at_hand(spec, home), ""))
        except CheckpointError as error:
            entries.append((spec, None, error.message))
    known = {name for spec in CATALOG for name in spec.names}
    own = home / "models"
    others = [str(f) for f in sorted(own.iterdir()) if f.is_dir()] if own.is_dir() else []
    for name in [*others, *hub.cached_ids()]:
        if Path(name).name in known or name in known:
            continue
        try:
            source = resolve(name, home=home, offline=True)
        except (CheckpointError, ModelUnavailable):
            continue  # the shared cache holds other tools' models as well
        entries.append((source.spec, source, ""))
    return entries


def reasons_not_served(home: Path, notice: str = "") -> dict[str, str]:
    """Why each model of the catalog is not being served, where it is not, and how to get it.

    notice: what resolve_auto said at start, if it said something. Asks no network and hashes nothing.
    """

    def reason(spec: ModelSpec) -> str:
        if notice and spec.id == JINA_CODE_V2.id:
            return notice
        if _is_there(spec, home):
            return f"{spec.id} is on this machine, but this server was started without it: add it to EMBEDDING_MODEL."
        return f"{spec.id} is not on this machine. {how_to_get(spec, home)}"

    return {spec.id: reason(spec) for spec in CATALOG}


def _is_there(spec: ModelSpec, home: Path) -> bool:
    """As `at_hand`, unchecked."""
    own = home / "models" / spec.id
    by_hand = own.is_dir() and not missing_files(own)
    return by_hand or bool(spec.hub_id and hub.cached(spec.hub_id, spec.revision)) or package_folder(spec) is not None


def how_to_get(spec: ModelSpec, home: Path) -> str:
    """One sentence for a person who wants this model."""
    access = ""
    if spec.gated:
        access = f"accept its licence on the hub's page of {spec.hub_id}, set HF_TOKEN=hf_..., then "
    return (
        f"To get it: {access}`embedserve pull {spec.id}` where the model hub can be reached, or copy its files to "
        f"{home / 'models' / spec.id}; then start again with EMBEDDING_MODEL={spec.id}."
    )


def _download(spec: ModelSpec, offline: bool, progress: hub.Progress | None) -> ModelSource:
    _refuse_offline(spec.id, offline)
    folder, commit = hub.download(spec.hub_id or "", spec.revision, progress)
    return _checked(ModelSource(spec, folder, "hub", commit))


def _refuse_offline(name: str, offline: bool) -> None:
    if offline or hub.is_offline():
        raise ModelUnavailable(f"{name} is not on this machine, and the hub is switched off (HF_HUB_OFFLINE)")


def _checked(source: ModelSource) -> ModelSource:
    """Refuse files that are not the catalog's model."""
    spec, folder = source.spec, source.folder
    check_hashes(spec, folder)
    found = describe(folder, spec.id)
    if (found.architecture, found.dimension) != (spec.architecture, spec.dimension):
        raise CheckpointError(
            f"{folder} is not {spec.id}: it is {found.architecture} with {found.dimension} dimensions, "
            f"not {spec.architecture} with {spec.dimension}"
        )
    return replace(source, spec=_merged(spec, found))


def _merged(known: ModelSpec, found: ModelSpec) -> ModelSpec:
    """The catalog's facts, with what only the files tell."""
    return replace(
        known,
        encoder=found.encoder,
        steps=found.steps,
        lower_case=found.lower_case,
        max_tokens=min(known.max_tokens, found.max_tokens),
        prompts={**found.prompts, **known.prompts},
        default_prompt=known.default_prompt or found.default_prompt,
        dtypes=tuple(d for d in known.dtypes if d in found.dtypes),
    )


def _from_folder(folder: Path, home: Path) -> ModelSource:
    folder = folder.resolve()
    if missing := missing_files(folder):
        raise ModelUnavailable(f"{folder} is not a model folder: {', '.join(missing)} missing")
    return ModelSource(describe(folder, folder.name), folder, "folder", content_revision(folder, home))


def _from_hub(hub_id: str, folder: Path, commit: str) -> ModelSource:
    return ModelSource(describe(folder, hub_id), folder, "hub", commit)


def _unknown(name: str) -> str:
    known = [n for spec in CATALOG for n in spec.names]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return (
        f"{name!r} is neither a known model ({', '.join(s.id for s in CATALOG)}) nor a folder nor a hub id "
        f"like org/name{hint}"
    )
