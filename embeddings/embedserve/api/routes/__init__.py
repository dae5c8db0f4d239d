"""The routes, one file for each API shape. A module here with a `router` is served; nothing else has to be told.

What a route needs of the middleware it declares itself (api/declare.py).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from fastapi import APIRouter


def routers() -> Iterator[APIRouter]:
    """Of every module in this package, by name."""
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        yield importlib.import_module(f"{__name__}.{module.name}").router
