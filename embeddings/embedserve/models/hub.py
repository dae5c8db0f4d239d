"""The model hub: what of it is on disk, whether it answers, and downloads that resume.

Files go to the ordinary Hugging Face cache, so other tools share them. Listing, tokens and the small files are
left to huggingface_hub; the weights are not, since its 2.x drops a partial file when the process ends. Here
they are fetched with Range requests into `blobs/<sha256>.part`, which the next run continues, checked against
the hub's sha256 and renamed; huggingface_hub then finds the blob and only links it. The weights come last: a
snapshot that has them is complete.

HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what they mean everywhere. huggingface_hub and httpx
are imported when first needed (0.2 s).
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedserve.errors import ModelUnavailable
from embedserve.models.folder import DESCRIPTION, REQUIRED, WEIGHTS, file_sha256, missing_files
from embedserve.models.weights import INDEX

Progress = Callable[[int, int], None]  # bytes done, bytes in all

TIMEOUT = 10.0  # seconds without a byte after which the hub counts as not answering
ATTEMPTS = 5  # tries in a row that bring no byte
_SPARE_DISK = 64 * 1024 * 1024
_MODULE_FILE = re.compile(r"^\d+_\w+/(config\.json|tokenizer\.json|model\.safetensors|pytorch_model\.bin)$")
_SHARD = re.compile(r"^model-\d+-of-\d+\.safetensors$")


def cached(hub_id: str, revision: str | None) -> tuple[Path, str] | None:
    """(snapshot folder, commit) of a complete download, without asking anyone. revision None: the last pulled."""
    repo = _repo_folder(hub_id)
    if revision is None:
        ref = repo / "refs" / "main"
        revision = ref.read_text().strip() if ref.is_file() else ""
    folder = repo / "snapshots" / revision
    return (folder, revision) if revision and not missing_files(folder) else None


def cached_ids() -> list[str]:
    """The hub ids of every model in the cache, complete or not."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    folders = sorted(cache.glob("models--*--*")) if cache.is_dir() else []
    return [folder.name.removeprefix("models--").replace("--", "/", 1) for folder in folders]


def is_offline() -> bool:
    """HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def silence(hub_id: str, revision: str | None, timeout: float = 3.0) -> str:
    """Why the hub cannot be used for this model, found within `timeout` seconds; "" when it answers.

    In a thread, because looking up a host name has no time-out of its own.
    """
    from huggingface_hub import constants

    answer = [f"{constants.ENDPOINT} did not answer within {timeout:g} s"]

    def ask() -> None:
        import httpx

        try:
            status = httpx.head(_url(hub_id, revision, "config.json"), headers=_headers(), timeout=timeout).status_code
            answer[0] = "" if status < 400 else f"{constants.ENDPOINT} answered {status} for {hub_id}"
        except Exception as error:
            answer[0] = f"{constants.ENDPOINT} cannot be reached ({_brief(error)})"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return answer[0]


def download(hub_id: str, revision: str | None, progress: Progress | None = None) -> tuple[Path, str]:
    """Fetch what a model needs, continuing an interrupted download. Returns (snapshot folder, commit).

    Raises ModelUnavailable with the reason: no connection, gated, no such model or revision, disk full.
    """
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(hub_id, revision=revision, files_metadata=True, timeout=TIMEOUT)
        commit = str(info.sha)
        files = _wanted(info.siblings or [], hub_id)
        meter = _Meter(sum(f.size or 0 for f in files), progress)
        _check_disk(meter.total)
        for file in files:
            _get(hub_id, commit, file, meter)
        _remember_main(hub_id, revision, commit)
    except ModelUnavailable:
        raise
    except Exception as error:
        raise ModelUnavailable(_explain(error, hub_id, revision)) from error
    found = cached(hub_id, commit)
    if found is None:
        raise ModelUnavailable(f"{hub_id}: the download is incomplete; run it again")
    return found


class _Meter:
    """Adds up the bytes of all files for the caller's progress bar."""

    def __init__(self, total: int, report: Progress | None) -> None:
        self.total, self.done, self.report = total, 0, report

    def advance(self, count: int) -> None:
        self.done += count
        if self.report is not None:
            self.report(self.done, self.total)


def _wanted(siblings: list[Any], hub_id: str) -> list[Any]:
    """The files to fetch, the weights last."""
    by_name = {s.rfilename: s for s in siblings}
    modules = [n for n in by_name if _MODULE_FILE.match(n)]
    modules = [
        n for n in modules if n.replace("pytorch_model.bin", "model.safetensors") not in modules or "bin" not in n
    ]
    weights = next((name for name in WEIGHTS if name in by_name), None)
    is_static = any(n.endswith("/tokenizer.json") for n in modules) or _has_no_config(by_name)
    absent = [] if is_static else [name for name in REQUIRED if name not in by_name]
    if (weights is None and not is_static) or absent:
        lacking = ", ".join([*absent, *([] if weights else [" or ".join((WEIGHTS[0], WEIGHTS[-1]))])])
        raise ModelUnavailable(f"{hub_id} cannot be served: it has no {lacking}")
    small = [n for n in (*REQUIRED, *DESCRIPTION) if n in by_name]
    shards = [n for n in by_name if _SHARD.match(n)] if weights == INDEX else []
    return [by_name[n] for n in (*small, *modules, *shards, *([weights] if weights else []))]


def _has_no_config(by_name: dict[str, Any]) -> bool:
    """A static model as sentence-transformers saves it: modules.json and a table, no encoder's config."""
    return "config.json" not in by_name and "modules.json" in by_name and "tokenizer.json" in by_name


def _get(hub_id: str, commit: str, file: Any, meter: _Meter) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    disable_progress_bars()  # ours is the one that is shown
    before = meter.done
    if file.lfs is not None and not (_repo_folder(hub_id) / "snapshots" / commit / file.rfilename).exists():
        _fetch_blob(hub_id, commit, file, meter)
    hf_hub_download(hub_id, file.rfilename, revision=commit, etag_timeout=TIMEOUT)
    meter.advance((file.size or 0) - (meter.done - before))


def _fetch_blob(hub_id: str, commit: str, file: Any, meter: _Meter) -> None:
    """The large file's content at `blobs/<sha256>`, where huggingface_hub looks for it."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    sha256, size = file.lfs.sha256, file.lfs.size
    blob = _repo_folder(hub_id) / "blobs" / sha256
    part = blob.with_name(f"{sha256}.part")
    blob.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(part.with_name(f"{sha256}.lock")):  # two pulls at once: the second finds the work done
        if blob.exists():
            return
        _fetch(_url(hub_id, commit, file.rfilename), part, size, meter)
        if file_sha256(part) != sha256:
            part.unlink()
            raise ModelUnavailable(f"{hub_id}: {file.rfilename} arrived damaged (wrong sha256); run it again")
        part.rename(blob)


def _fetch(url: str, part: Path, size: int, meter: _Meter) -> None:
    """Append to `part` until it has `size` bytes."""
    import httpx

    meter.advance(_size(part))
    failures = 0
    while (have := _size(part)) < size:
        try:
            _stream(url, part, have, meter)
            error: Exception | None = None
        except httpx.TransportError as transport:
            error = transport
        failures = failures + 1 if _size(part) <= have else 0
        if failures >= ATTEMPTS:
            raise ModelUnavailable(
                f"the download stopped at {have / 1e6:.0f} of {size / 1e6:.0f} MB ({_brief(error)}); "
                "run it again: it goes on from there"
            )
        if failures:
            time.sleep(min(0.2 * 2**failures, 5.0))


def _stream(url: str, part: Path, have: int, meter: _Meter) -> None:
    """One request's worth of bytes."""
    import httpx

    headers = {**_headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT) as response:
        if response.status_code in (429, 500, 502, 503, 504):
            raise httpx.TransportError(f"the hub answered {response.status_code}")
        response.raise_for_status()
        appending = have > 0 and response.status_code == 206  # 200: this server has no ranges, start again
        if have and not appending:
            meter.advance(-have)
        with part.open("ab" if appending else "wb") as file:
            for chunk in response.iter_raw():  # as received: a chunk size would lose its fill on a tear
                file.write(chunk)
                meter.advance(len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_disk(needed: int) -> None:
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed + _SPARE_DISK:
        raise ModelUnavailable(
            f"{needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free in {place}; free some, or set "
            "HF_HOME to another disk"
        )


def _remember_main(hub_id: str, revision: str | None, commit: str) -> None:
    """For an unpinned model, which commit to use offline."""
    if revision is None:
        ref = _repo_folder(hub_id) / "refs" / "main"
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)


def _repo_folder(hub_id: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"


def _url(hub_id: str, revision: str | None, name: str) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(hub_id, name, revision=revision)


def _headers() -> dict[str, str]:
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    return dict(build_hf_headers(library_name="embedserve"))


def _brief(error: Exception | None) -> str:
    text = str(error or "").strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _explain(error: Exception, hub_id: str, revision: str | None) -> str:
    """What went wrong and what to do about it."""
    from huggingface_hub import constants, errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    page = f"{constants.ENDPOINT}/{hub_id}"
    token = "set HF_TOKEN=hf_... (or run `hf auth login`)"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{hub_id} is gated: accept its licence at {page}, then {token} and run `embedserve pull {hub_id}`; "
            "or copy the folder from a machine that has it and give its path as the model"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{hub_id} has no revision {revision} on {constants.ENDPOINT}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{constants.ENDPOINT} has no model {hub_id}, or it is private: then {token}"
    if status in (401, 403):
        return f"{constants.ENDPOINT} refused the access token for {hub_id} ({status}): {token}"
    if isinstance(error, OSError) and error.errno == 28:
        return f"the disk is full: {constants.HF_HUB_CACHE}"
    return f"{hub_id} cannot be downloaded from {constants.ENDPOINT} ({_brief(error)})"
