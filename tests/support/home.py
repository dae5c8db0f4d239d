"""A home of its own for each process of the tests, so that no test reads or writes the person's.

Where pip, npm, Docker and pyenv keep what a person set up or downloaded is told to them by their own variables, as they
would look for it in the home. Knows nothing of embedserve's settings but that their places are under the home.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Where tools look besides the home, or what would name the person's caches.
_ELSEWHERE = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME", "HF_HUB_CACHE", "EMBEDDING_HOME")
_TOOLS = {
    "PIP_CACHE_DIR": ".cache/pip",
    "PIP_CONFIG_FILE": ".config/pip/pip.conf",
    "npm_config_cache": ".npm",
    "npm_config_userconfig": ".npmrc",
    "DOCKER_CONFIG": ".docker",
    "PYENV_ROOT": ".pyenv",
}


def move_home() -> Path:
    """Points this process and its children to an empty home, which is removed at the end. Returns it."""
    person = Path.home()
    for name, place in _TOOLS.items():
        if (person / place).exists():
            os.environ.setdefault(name, str(person / place))
    for name in _ELSEWHERE:
        os.environ.pop(name, None)
    home = Path(tempfile.mkdtemp(prefix="embedserve-home-"))
    maker = os.getpid()

    def remove() -> None:
        if os.getpid() == maker:  # a fork of this process leaves it
            shutil.rmtree(home, ignore_errors=True)

    atexit.register(remove)
    os.environ["HOME"] = os.environ["USERPROFILE"] = str(home)
    return home
