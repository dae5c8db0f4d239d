"""What a model's vectors depend on, as the cache is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from embedserve.backends.base import ArtefactInfo
from embedserve.backends.fake import FakeBackend, FakeTokenizer
from embedserve.machine import cpu
from embedserve.serving import loading
from embedserve.serving.loading import Loaded
from support.live import FAKE_SPEC


def loaded(revision: str = "0", **info: object) -> Loaded:
    backend = FakeBackend()
    given = {"artefact": ArtefactInfo("made once"), **info}
    backend.info = replace(backend.info, **given)  # type: ignore[arg-type]
    return Loaded(FAKE_SPEC, backend, FakeTokenizer(), revision, "folder")


def test_another_artefact_revision_precision_device_cpu_or_library_has_other_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once the artefact was left out: after `optimize` the old model's vectors came out of the cache."""
    others = [
        loaded(),
        loaded(artefact=ArtefactInfo("made again")),
        loaded(artefact=None),
        loaded(revision="1"),
        loaded(precision="int8"),
        loaded(device="cuda"),
        loaded(name="torch"),
        loaded(name="openvino"),
    ]
    spaces = {one.vectors_from.namespace() for one in others}
    monkeypatch.setattr(cpu, "features", lambda: cpu.CpuFeatures("another", False, False, ()))
    spaces.add(loaded().vectors_from.namespace())
    monkeypatch.undo()
    monkeypatch.setattr(loading.importlib.metadata, "version", lambda _library: "another")
    spaces.add(loaded(name="openvino").vectors_from.namespace())
    assert len(spaces) == len(others) + 2
    monkeypatch.undo()
    assert loaded().vectors_from == loaded().vectors_from
