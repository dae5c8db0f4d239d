"""Where a setting comes from: a flag, the environment, the checkout's .env, the user's own file, in this order.

`fill(os.environ)` is called once, by the command line: it adds what the files say and the environment lacks, so that
every reader (ours, and the hub's library with HF_TOKEN) finds the same values. `origin` says afterwards, for one
name, which of them it was. A file holds NAME=value lines and is never executed; scripts/manage.sh reads it in the
same way (tests/test_sources.py compares the two). An empty value means unset, and hides what comes later.

It knows no setting by its meaning, but for two names that stand for one thing and for paths: a relative path in a file
means one from that file's folder, or the server and a command started elsewhere would have two homes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from embedserve.errors import SettingsError

# Another name -> ours. The original service's compose file reads the first, Qdrant's own image the second.
SAME = {"SEMAPHORE_VALUE": "EMBEDDING_SEMAPHORE_VALUE", "QDRANT__SERVICE__API_KEY": "QDRANT_API_KEY"}
PATHS = ("EMBEDDING_HOME", "QDRANT_STORAGE", "HF_HOME")
MAYBE_PATHS = ("EMBEDDING_MODEL", "EMBEDDING_RERANK_MODEL")  # a folder only when it begins with a dot
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED = re.compile(r"(?:\"([^\"]*)\"|'([^']*)')(?:\s+#.*)?")
UNSET = 99  # rank of what nothing says


def checkout() -> Path | None:
    """The folder of the clone that this package runs from (EMBEDSERVE_ROOT overrides); None: installed elsewhere."""
    given = os.environ.get("EMBEDSERVE_ROOT")
    folder = Path(given) if given else Path(__file__).resolve().parents[2]
    return folder if (folder / "scripts" / "manage.sh").is_file() else None


def user_file(environ: Mapping[str, str] | None = None) -> Path:
    """The user's own settings, for every checkout: $XDG_CONFIG_HOME/embedserve/config.env."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".config")
    return Path(base) / "embedserve" / "config.env"


def files(environ: Mapping[str, str] | None = None) -> list[Path]:
    """The settings files that there are, the first wins."""
    root = checkout()
    candidates = [*([root / ".env"] if root else []), user_file(environ)]
    return [path for path in candidates if path.is_file()]


def read(path: Path) -> dict[str, str]:
    """NAME=value lines of one file, paths made absolute. Raises SettingsError that quotes a line that is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    found: dict[str, str] = {}
    for line in text.split("\n"):
        line = line.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise SettingsError(f"{path}: this line is not NAME=value: {line}")
        if not _NAME.fullmatch(name):
            raise SettingsError(f"{path}: '{name}' is not a variable's name.")
        found[name] = _absolute(name, _unquoted(value), path.parent)
    return found


def fill(environ: MutableMapping[str, str]) -> None:
    """Add to `environ` what the files say and it lacks, and the second names of what it has."""
    _same(environ)
    for path in files(environ):
        values = read(path)
        _same(values)
        for name, value in values.items():
            environ.setdefault(name, value)


def origin(name: str, environ: Mapping[str, str] | None = None) -> str:
    """ "default", "environment" or the file that says the value in force."""
    environ = os.environ if environ is None else environ
    rank, where = _origin(name, environ)
    return where if rank < UNSET else "default"


def rank(name: str, environ: Mapping[str, str] | None = None) -> int:
    """0: the environment, then the files in their order; UNSET when none says it. The lower one wins."""
    return _origin(name, os.environ if environ is None else environ)[0]


def _origin(name: str, environ: Mapping[str, str]) -> tuple[int, str]:
    value = environ.get(name)
    if value is None or not value.strip():
        return UNSET, "default"
    # manage.sh has put the values of a file into the environment already: an equal value is the file's.
    for number, path in enumerate(files(environ), start=1):
        values = read(path)
        _same(values)
        if values.get(name) == value:
            return number, str(path)
    return 0, "environment"


def _same(values: MutableMapping[str, str]) -> None:
    for other, ours in SAME.items():
        if values.get(other, "").strip() and not values.get(ours, "").strip():
            values[ours] = values[other]


def _unquoted(value: str) -> str:
    value = value.strip()
    quoted = _QUOTED.fullmatch(value)
    if quoted:
        return next(group for group in quoted.groups() if group is not None)
    return re.split(r"\s#", f" {value}", maxsplit=1)[0].strip()


def _absolute(name: str, value: str, folder: Path) -> str:
    if name in MAYBE_PATHS:
        relative = value.startswith(("./", "../"))
    else:
        relative = name in PATHS and bool(value) and not value.startswith("~") and not os.path.isabs(value)
    return os.path.join(folder, value.removeprefix("./")) if relative else value
