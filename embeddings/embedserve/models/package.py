"""Weights that a Python package carries, for a machine with a package index and no model hub.

The package is found through importlib.metadata and never imported: only its files are used, and only when
their sha256 is the one in the catalog. What the package says of itself (licence, author) is not trusted.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from embedserve.errors import CheckpointError
from embedserve.models.folder import file_sha256
from embedserve.models.spec import ModelSpec


def package_folder(spec: ModelSpec) -> Path | None:
    """The folder with the model's files inside the installed package, or None if it is not installed."""
    if spec.package is None:
        return None
    try:
        files = metadata.files(spec.package) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == "model.safetensors":
            return Path(str(file.locate())).parent
    return None


def check_hashes(spec: ModelSpec, folder: Path) -> None:
    """CheckpointError that names the first file whose content is not the catalog's."""
    for name, wanted in spec.sha256.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing")
        if (found := file_sha256(path)) != wanted:
            raise CheckpointError(f"{path} is not the published {spec.id}: its sha256 is {found}, not {wanted}")
