"""The status page as people use it: in a real browser, light, dark and on a phone, by keyboard and by ear."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.browser import CHROMIUM, Browser
from support.processes import Process

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
AXE = "axe-core@4"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with Process(["serve"], "/ready", EMBEDDING_BACKEND="fake", EMBEDDING_CACHE="memory") as running:
        for _ in range(3):
            httpx.post(running.url + "/v1/embeddings", json={"input": ["a", "b"]}, headers={"user-agent": "roo-code/1"})
        httpx.post(running.url + "/v1/embeddings", json={"input": ["a"], "model": "gpt"})
        yield running.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


def test_its_own_policy_lets_it_work_and_figures_move(server: str, browser: Browser) -> None:
    browser.open(server)
    browser.until("document.body.innerText.includes('roo-code/1')")
    before = browser.run("document.body.innerText")
    httpx.post(server + "/v1/embeddings", json={"input": [f"text {n}" for n in range(50)]})
    browser.until(f"document.body.innerText !== {before!r}")
    assert "'gpt' is not served here" in browser.run("document.body.innerText")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (375, False), (320, True)])
def test_nothing_is_wider_than_the_screen(server: str, browser: Browser, width: int, dark: bool) -> None:
    browser.open(server, width=width, dark=dark)
    browser.until("document.body.innerText.includes('roo-code/1')")
    assert browser.run("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts", AXE]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        pytest.skip("needs npm")
    if done.returncode:
        pytest.skip(f"npm cannot install {AXE}: {done.stderr.strip().splitlines()[-1]}")
    return Path(folder / "node_modules/axe-core/axe.min.js").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (375, False)])
def test_axe_finds_nothing_that_keeps_anyone_out(
    server: str, browser: Browser, axe: str, width: int, dark: bool
) -> None:
    browser.open(server, width=width, dark=dark, guarded=False)
    browser.until("document.body.innerText.includes('roo-code/1')")
    browser.run(axe + "; true")
    found = browser.run(
        "axe.run().then(r => ({passed: r.passes.length,"
        " violations: r.violations.map(v => [v.id, v.help, v.nodes.map(n => n.html)])}))"
    )
    assert found["violations"] == []
    assert found["passed"] > 10
