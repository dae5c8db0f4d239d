"""Converted models on disk: whole or not used, two processes, no torch once they are there."""

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from embedserve.backends import artefacts, convert
from embedserve.backends.openvino_backend import OpenVinoBackend
from embedserve.backends.select import installed_artefacts, load_backend
from embedserve.errors import ArtefactError, CheckpointError


@pytest.fixture
def counted(monkeypatch):
    """Counts conversions; each writes two small files instead of starting a child."""
    made = []

    def write(source, precision, folder):
        made.append(precision)
        for name in artefacts.files(precision):
            (folder / name).write_text(f"{precision} {len(made)}")
        return {}

    monkeypatch.setattr(convert, "convert_in_child", write)
    return made


def test_a_second_load_finds_the_artefact_of_the_first(tiny_jina, tmp_path, counted):
    first = convert.artefact(tiny_jina, "bf16", tmp_path)
    assert convert.artefact(tiny_jina, "bf16", tmp_path) == first
    convert.artefact(tiny_jina, "fp32", tmp_path)
    assert counted == ["bf16", "fp32"]
    assert [a["precision"] for a in installed_artefacts(tiny_jina, tmp_path)] == ["fp32", "bf16"]


@pytest.mark.parametrize("damage", ["cut", "no manifest", "torn manifest", "no weights"])
def test_a_torn_artefact_is_made_again(tiny_jina, tmp_path, counted, damage):
    folder = convert.artefact(tiny_jina, "bf16", tmp_path).folder
    if damage == "cut":
        (folder / "model.bin").write_bytes(b"")
    elif damage == "no manifest":
        (folder / "manifest.json").unlink()
    elif damage == "torn manifest":
        (folder / "manifest.json").write_text('{"revision": ')
    else:
        (folder / "model.bin").unlink()
    assert artefacts.find(tiny_jina, "bf16", tmp_path) is None
    again = convert.artefact(tiny_jina, "bf16", tmp_path)
    assert again.folder == folder
    assert again.model.read_text() == "bf16 2"
    assert [f.name for f in folder.parent.iterdir()] == [folder.name]  # nothing is left lying


@pytest.mark.parametrize("what", ["revision", "openvino", "converter"])
def test_a_stale_artefact_is_not_used(tiny_jina, tmp_path, counted, monkeypatch, what):
    import dataclasses

    convert.artefact(tiny_jina, "bf16", tmp_path)
    source = tiny_jina
    if what == "revision":
        source = dataclasses.replace(tiny_jina, revision=tiny_jina.revision[:16] + "another")  # same folder name
    elif what == "openvino":
        monkeypatch.setattr(artefacts, "version", lambda package: "9999.0")
    else:
        monkeypatch.setattr(artefacts, "CONVERTER", 999)
    assert artefacts.find(source, "bf16", tmp_path) is None
    assert artefacts.find(source, "bf16", tmp_path) is None
    convert.artefact(source, "bf16", tmp_path)
    assert len(counted) == 2


def test_after_an_upgrade_the_last_stale_artefact_is_kept_and_older_ones_go(
    tiny_jina, tmp_path, counted, monkeypatch, caplog
):
    caplog.set_level("INFO")
    folders = []
    for number in range(100, 104):
        monkeypatch.setattr(artefacts, "CONVERTER", number)
        folders.append(convert.artefact(tiny_jina, "bf16", tmp_path).folder)
        os.utime(folders[-1], (number, number))
        convert.artefact(tiny_jina, "fp32", tmp_path)  # another precision's stay
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    assert artefacts.stale(tiny_jina, "bf16", tmp_path) == folders[2:3]
    removals = [record.getMessage() for record in caplog.records if "is removed" in record.getMessage()]
    assert [str(folder) in "\n".join(removals) for folder in folders] == [True, True, False, False]
    own = folders[2].rename(f"{folders[2]}-my-copy")
    (own / artefacts.MANIFEST).unlink()
    assert artefacts.stale(tiny_jina, "bf16", tmp_path) == []  # without our manifest it is not ours to delete


def test_many_who_race_for_an_artefact_all_get_a_whole_one(tiny_jina, tmp_path):
    barrier = threading.Barrier(8)
    got = []

    def write(folder):
        mark = threading.current_thread().name
        for name in artefacts.files("bf16"):
            (folder / name).write_text(mark)
        barrier.wait()
        return {}

    def race():
        got.append(artefacts.build(tiny_jina, "bf16", tmp_path, write))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    whole = artefacts.find(tiny_jina, "bf16", tmp_path)
    assert whole is not None
    assert len({(whole.folder / name).read_text() for name in artefacts.files("bf16")}) == 1


def test_two_processes_race_for_a_real_conversion(tiny_jina, tmp_path):
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from embedserve.models.sources import resolve; from embedserve.backends.select import load_backend\n"
        "s = resolve(sys.argv[1], home=Path(sys.argv[2]))\n"
        "b = load_backend(s, backend='openvino', precision='fp32', home=Path(sys.argv[2]))\n"
        "print(b.embed([np.arange(9, dtype=np.int32)])[0].tobytes().hex())\n"
    )
    command = [sys.executable, "-c", code, str(tiny_jina.folder), str(tmp_path)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = {racer.communicate(timeout=180)[0] for racer in racers}
    assert [racer.returncode for racer in racers] == [0, 0]
    assert len(outputs) == 1
    assert len(list((tmp_path / "artefacts" / tiny_jina.spec.id).iterdir())) == 1


def test_a_failed_build_leaves_nothing_and_keeps_the_one_before(tiny_jina, tmp_path, counted):
    first = convert.artefact(tiny_jina, "bf16", tmp_path)

    def refuse(folder):
        (folder / "model.xml").write_text("half")
        raise ArtefactError("worse than allowed")

    with pytest.raises(ArtefactError):
        artefacts.build(tiny_jina, "bf16", tmp_path, refuse, replace=True)
    assert artefacts.find(tiny_jina, "bf16", tmp_path) == first
    assert len(list(first.folder.parent.iterdir())) == 1


def test_with_an_artefact_neither_torch_nor_transformers_is_imported(minilm, minilm_ids, home):
    convert.artefact(minilm, "fp32", home)
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from embedserve.models.sources import resolve; from embedserve.models.tokenizer import load_tokenizer\n"
        "from embedserve.backends.select import load_backend\n"
        "s = resolve('all-MiniLM-L6-v2', home=Path(sys.argv[1]))\n"
        "b = load_backend(s, precision='fp32', home=Path(sys.argv[1]))\n"
        "assert b.embed([load_tokenizer(s).encode(['x'])[0].ids]).shape == (1, 384)\n"
        "print(sorted({'torch', 'transformers', 'nncf', 'onnxruntime'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_in_the_converting_process_is_the_same_error_here(tiny_jina, tmp_path):
    import shutil

    from embedserve.models.sources import resolve

    broken = tmp_path / "broken"
    shutil.copytree(tiny_jina.folder, broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    source = resolve(str(broken), home=tmp_path)
    with pytest.raises(CheckpointError, match=r"missing tensors: encoder\.layer\.2"):
        load_backend(source, backend="openvino", precision="fp32", home=tmp_path)


def test_what_optimize_recorded_is_shown(tiny_jina, home, tmp_path):
    whole = convert.artefact(tiny_jina, "fp32", home)

    def write(folder):
        for name in artefacts.files("int8"):
            (folder / name).write_bytes((whole.folder / name).read_bytes())
        return {"guard": "skipped"}

    artefacts.build(tiny_jina, "int8", tmp_path, write)
    assert installed_artefacts(tiny_jina, tmp_path)[0]["guard"] == "skipped"
    backend = load_backend(tiny_jina, home=tmp_path)
    assert isinstance(backend, OpenVinoBackend)
    assert (backend.info.precision, backend.info.artefact.guard) == ("int8", "skipped")
    assert "artefact is installed" in backend.info.why
    assert np.isfinite(backend.embed([np.arange(5, dtype=np.int32)])).all()
