"""Switches off what libraries report about their users, before any of them is imported.

OpenVINO and NNCF report each import to an analytics service through the package openvino_telemetry, under a lasting
id that it keeps in the user's home. Both fall back to a stub of their own where that package cannot be imported, so
it is made not importable here. Others ask the environment; what the user set there himself stays.

Knows nothing of what we send ourselves: that is nothing, but to the model hub when a model is asked for.
"""

from __future__ import annotations

import os
import sys

REPORTERS = ("openvino_telemetry",)
WISHES = {
    "DO_NOT_TRACK": "1",  # the common name
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers
    "RAY_USAGE_STATS_ENABLED": "0",
}


def silence() -> None:
    """Of this process and of those that it starts."""
    for name in REPORTERS:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None: an import of it is an ImportError
    for name, value in WISHES.items():
        os.environ.setdefault(name, value)
