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


def text_of(browser: Browser, selector: str) -> str:
    return str(browser.run(f"document.querySelector({selector!r}).innerText"))


def press(browser: Browser, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.tell("Input.dispatchKeyEvent", type=kind, key=key, code=key, text="\r" if key == "Enter" else "")


def focused(browser: Browser) -> str:
    return str(browser.run("(e => e.matches('input, textarea') ? e.id : e.textContent)(document.activeElement)"))


def test_texts_are_ranked_by_this_server(server: str, browser: Browser) -> None:
    browser.open(server)
    browser.run("query.value = 'find a user'; texts.value = 'first text\\n\\nfind a user\\nlast text'; 0")
    browser.run("document.querySelector('#try button').click()")
    browser.until("document.querySelectorAll('#ranks code').length === 3")
    assert text_of(browser, "#ranks li").split()[:1] == ["1.000"]  # the same text as the question's
    assert text_of(browser, "#ranks code") == "find a user"
    assert "4 texts" in text_of(browser, "#took")


def test_an_empty_box_and_a_refused_text_say_why(server: str, browser: Browser) -> None:
    browser.open(server)
    browser.run("query.value = ''; document.querySelector('#try button').click()")
    assert text_of(browser, "#took") == "write a question and at least one text"
    browser.run("query.value = 'a'; texts.value = 'b\\n'.repeat(9000); document.querySelector('#try button').click()")
    browser.until("took.innerText !== 'embedding …'")
    assert "8192" in text_of(browser, "#took")


def test_the_copied_settings_are_this_servers(server: str, browser: Browser) -> None:
    browser.open(server)
    granted = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.tell("Browser.grantPermissions", origin=server, permissions=granted)
    browser.tell("Page.bringToFront")
    browser.until("document.body.innerText.includes('roo-code/1')")
    for label, value in (("Base URL", server + "/v1"), ("Model", "fake"), ("Qdrant URL", "http://127.0.0.1:6333")):
        browser.run(f"document.querySelector('[aria-label=\"Copy {label}\"]').click()")
        browser.until("copied.innerText === 'copied'")
        assert browser.run("navigator.clipboard.readText()") == value
        browser.run("copied.textContent = ''")


def test_the_clients_tabs_are_walked_by_keyboard(server: str, browser: Browser) -> None:
    """Also where the first figures come, which make the tabs anew, while one has the focus."""
    browser.open(server)
    browser.run("document.querySelector('[role=tab]').focus()")
    seen = [focused(browser)]
    for key in ("ArrowRight", "ArrowRight", "End", "ArrowRight", "ArrowLeft", "Home"):
        press(browser, key)
        seen.append(focused(browser))
    assert seen == ["Roo Code", "Zoo Code", "Kilo Code", "curl", "Roo Code", "curl", "Roo Code"]
    press(browser, "ArrowRight")
    assert browser.run("document.querySelector('[aria-selected=true]').textContent") == "Zoo Code"
    assert browser.run("panel.getAttribute('aria-labelledby')") == "tab-1"
    press(browser, "End")
    assert server + "/v1/embeddings" in text_of(browser, "#panel pre")


def test_everything_is_reached_by_the_tab_key(server: str, browser: Browser) -> None:
    browser.open(server)
    browser.until("document.body.innerText.includes('roo-code/1')")
    reached = []
    for _ in range(60):
        press(browser, "Tab")
        reached.append(focused(browser))
        if reached[-1] == "health":
            break
    for name in (
        "Skip to the figures",
        "Dark",
        "query",
        "texts",
        "Embed and rank",
        "Roo Code",
        "Copy",
        "API reference",
    ):
        assert name in reached, (name, reached)


def test_a_chosen_theme_stays(server: str, browser: Browser) -> None:
    browser.open(server)
    light = browser.run("getComputedStyle(document.body).backgroundColor")
    browser.run("document.querySelector('#theme').click()")
    dark = browser.run("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    browser.open(server)
    assert browser.run("getComputedStyle(document.body).backgroundColor") == dark
    assert text_of(browser, "#theme") == "Light"
    browser.run("document.querySelector('#theme').click()")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == light


def test_the_charts_have_lines_that_move(server: str, browser: Browser) -> None:
    browser.open(server)
    browser.until("document.querySelectorAll('#charts path.line').length >= 4")
    assert browser.run("document.querySelectorAll('#charts svg').length") == 6
    drawn = browser.run("document.querySelector('#charts path.line').getAttribute('d')")
    browser.until(f"document.querySelector('#charts path.line').getAttribute('d') !== {drawn!r}")
    assert "last ten minutes: now" in browser.run("document.querySelector('#charts svg').getAttribute('aria-label')")


def test_a_client_that_indexes_is_a_job_and_a_search_is_none(server: str, browser: Browser) -> None:
    for size in (50, 30, 1):
        body = {"input": [f"chunk {n} of {size}" for n in range(size)]}
        httpx.post(server + "/v1/embeddings", json=body, headers={"user-agent": "kilo-code/7"})
    browser.open(server)
    browser.until("jobs.innerText.includes('kilo-code/7')")
    row = text_of(browser, "#jobs tbody tr").split("\t")
    assert row[:3] == ["kilo-code/7", "running", "80"]


def test_the_page_asks_for_the_key_and_says_when_it_is_wrong(browser: Browser) -> None:
    with Process(["serve"], "/ready", EMBEDDING_BACKEND="fake", EMBEDDING_API_KEY="right") as running:
        browser.open(running.url)
        browser.until("!keyform.hidden")
        browser.run("key.value = 'wrong'; document.querySelector('#keyform button').click()")
        browser.until("keywrong.innerText.includes('not the server')")
        browser.run("key.value = 'right'; document.querySelector('#keyform button').click()")
        browser.until("keyform.hidden && models.innerText.includes('fake')")
        browser.run("document.querySelector('#try button').click()")
        browser.until("document.querySelectorAll('#ranks code').length === 5")


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
