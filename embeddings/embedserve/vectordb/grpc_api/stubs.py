"""Qdrant's messages and services: the generated modules in qdrant-client's own folder.

They are loaded under a name of ours, since `import qdrant_client` costs 0.7 s and 60 MB for what a server never uses.
They import nothing but protobuf and each other.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_NAME = "_embedserve_qdrant_messages"
_MODULES = ("points", "collections", "qdrant_common", "json_with_int", "snapshots_service", "qdrant")
_SERVICES = ("points_service", "collections_service", "snapshots_service", "qdrant")


@cache
def _module(name: str) -> ModuleType:
    if _NAME not in sys.modules:
        client = importlib.util.find_spec("qdrant_client")
        assert client is not None
        assert client.submodule_search_locations is not None
        package = ModuleType(_NAME)  # not the package's own __init__, which loads the classes of its clients too
        package.__path__ = [str(Path(client.submodule_search_locations[0]) / "grpc")]
        sys.modules[_NAME] = package
    return importlib.import_module(f"{_NAME}.{name}_pb2")


class _Messages:
    """`pb.PointStruct`: a message class by its name."""

    def __getattr__(self, name: str) -> Any:
        for module in map(_module, _MODULES):
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"Qdrant's protocol has no message {name}")


pb: Any = _Messages()


def services() -> list[Any]:
    """The descriptors of Qdrant's services."""
    return [service for name in _SERVICES for service in _module(name).DESCRIPTOR.services_by_name.values()]
