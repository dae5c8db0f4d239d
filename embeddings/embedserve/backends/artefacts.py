"""Converted and quantised models on disk: what a key is, how one is written, when one is believed.

    home/artefacts/<model id>/<revision>-<precision>-<library><its version>-c<CONVERTER>/
        model.xml  model.bin (or model.onnx)
        manifest.json (written last: hashes of the others; guard and measurements of an int8 model)

The folder's name is the key, so a stale artefact is simply not found; the last stale one is kept, for going back
to the version before, older ones are deleted when a new one is installed. A folder is written under a temporary
name and renamed into place: whole or not there. One whose hashes are wrong is torn: it is moved away and made
again. Two processes may race: the first rename wins, the other's work is dropped, both use the winner's.

Knows no inference library.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from embedserve.backends.base import ArtefactInfo
from embedserve.backends.scratch import scratch
from embedserve.models.spec import ModelSource

log = logging.getLogger(__name__)

CONVERTER = 7  # raise it when convert.py makes another model from the same weights
ONNX = "onnx"  # in the place of a precision: the float32 model for ONNX Runtime
FILES = {ONNX: ("model.onnx",)}
OPENVINO_FILES = ("model.xml", "model.bin")
MANIFEST = "manifest.json"
MADE_ON = "cpu"  # a note of int8: the class of CPU (CpuFeatures.int8_class) that it was made and judged on
TIMES_FP32 = "times_fp32"  # a note of int8: its speed as a multiple of fp32's there


@dataclass(frozen=True)
class Artefact:
    """A whole one. `notes`: what optimize recorded (guard status, its measurements)."""

    folder: Path
    precision: str
    notes: dict[str, Any]
    hashes: dict[str, str] = field(default_factory=dict)  # of its files, by name, as the manifest has them

    @property
    def info(self) -> ArtefactInfo:
        """What the server needs to know of it. Digest: the folder's name has revision, library and converter."""
        measured = {name: value for name, value in self.notes.items() if name != "guard"}
        hashes = sorted(self.hashes.items()) or [
            (name, file_hash(self.folder / name)) for name in files(self.precision)
        ]
        digest = hashlib.sha256(repr((self.folder.name, hashes)).encode()).hexdigest()[:32]
        return ArtefactInfo(digest, self.notes.get("guard", ""), measured)

    @property
    def model(self) -> Path:
        return self.folder / files(self.precision)[0]

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum((self.folder / name).stat().st_size for name in files(self.precision))


def files(precision: str) -> tuple[str, ...]:
    """The names of an artefact's files; the first is the one to load."""
    return FILES.get(precision, OPENVINO_FILES)


def path_of(source: ModelSource, precision: str, home: Path) -> Path:
    """Where the artefact of this model, precision and library version belongs."""
    library = "onnxruntime" if precision == ONNX else "openvino"
    key = f"{_key(source, precision)}{library}{version(library)}-c{CONVERTER}"
    return home / "artefacts" / _file_name(source.spec.id) / _file_name(key)


def _key(source: ModelSource, precision: str) -> str:
    """What the names of a model's artefacts of all versions begin with."""
    return f"{source.revision[:16]}-{precision}-"


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.+-]", "_", text)


def find(source: ModelSource, precision: str, home: Path) -> Artefact | None:
    """The artefact if it is there, whole, and of this very revision. Reads and hashes its files (about 1 GB/s)."""
    return _read(path_of(source, precision, home), source, precision)


def _read(folder: Path, source: ModelSource, precision: str) -> Artefact | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest["revision"] != source.revision or manifest["precision"] != precision:
            return None
        if any(manifest["files"][name] != file_hash(folder / name) for name in files(precision)):
            return None
        return Artefact(folder, precision, dict(manifest["notes"]), dict(manifest["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def build(
    source: ModelSource,
    precision: str,
    home: Path,
    write: Callable[[Path], dict[str, Any]],
    *,
    replace: bool = False,
) -> Artefact:
    """Make one: `write(folder)` puts `files(precision)` there and returns notes. Then it is installed, atomically.

    replace: put it in the place of a whole one (a new `optimize`); otherwise whoever was first wins.
    """
    target = path_of(source, precision, home)
    target.parent.mkdir(parents=True, exist_ok=True)
    with scratch(target.parent) as folder:
        made = folder / "artefact"
        made.mkdir()
        notes = write(made)
        manifest: dict[str, Any] = {
            "model": source.spec.id,
            "revision": source.revision,
            "precision": precision,
            "files": {name: file_hash(made / name) for name in files(precision)},
            "notes": notes,
        }
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1))
        for name in (*files(precision), MANIFEST):
            _sync(made / name)
        for _ in range(8):
            if not replace and (winner := _read(target, source, precision)):
                return winner
            if target.exists():
                _move_away(target, "replaced by a new one")
            try:
                os.rename(made, target)
            except OSError:
                if not target.exists():
                    raise
                continue
            for outdated in stale(source, precision, home)[1:]:
                with contextlib.suppress(OSError):  # in use on Windows: the next one that is made deletes it
                    _move_away(outdated, "of another version of the library or the converter")
            return Artefact(target, precision, notes, manifest["files"])
        raise OSError(f"{target} is replaced by other processes over and over")


def _move_away(folder: Path, why: str) -> None:
    """Out of the way in one step, then deleted. A process that has its files open keeps them."""
    log.info("artefact %s is removed: %s", folder, why)
    try:
        grave = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
        os.rename(folder, grave / "artefact")
    except FileNotFoundError:
        pass  # another process was faster
    shutil.rmtree(grave, ignore_errors=True)


def installed(source: ModelSource, home: Path) -> list[Artefact]:
    """Every whole artefact of this model that this version of the library can use."""
    return [a for precision in ("fp32", "bf16", "int8") if (a := find(source, precision, home))]


def stale(source: ModelSource, precision: str, home: Path) -> list[Path]:
    """Folders of this revision and precision made by other versions of the library or the converter, newest first.
    Those with a manifest of ours only: they are deleted, and somebody's own copy is not."""
    target = path_of(source, precision, home)
    others = target.parent.glob(f"{glob.escape(_file_name(_key(source, precision)))}*")
    found = []
    for path in others:
        with contextlib.suppress(FileNotFoundError):  # another process deletes it now
            if path != target and (path / MANIFEST).is_file():
                found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def is_there(source: ModelSource, precision: str, home: Path) -> bool:
    """A folder of that name exists, whole or torn."""
    return path_of(source, precision, home).exists()


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
