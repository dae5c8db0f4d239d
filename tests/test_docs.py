"""The READMEs are product: their commands run, both languages say the same, the settings table is the code's."""

import json
import re
import sys
from pathlib import Path

import pytest

from support.processes import clean_environment, free_port
from support.readme import IN_DOCKER, JOURNEY, NATIVELY, NOT_RUN, blocks, run_readme

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import settings_table  # noqa: E402
import works_with  # noqa: E402

from embedserve import sources  # noqa: E402
from embedserve.client_settings import client_settings  # noqa: E402
from embedserve.settings import Settings, load_settings  # noqa: E402

TOPS = ("embeddings", "qdrant", "scripts", "tests", "vscode")
EN, UK = (ROOT / "README.md").read_text(), (ROOT / "README.uk.md").read_text()


def headings(text):
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [line.split(" ")[0] for line in outside.splitlines() if line.startswith("#")]


def tables(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_both_languages_have_the_same_outline_and_code():
    assert headings(EN) == headings(UK)
    commands = ("sh", "python", "json", "yaml")
    assert [b for b in blocks(EN) if b[0] in commands] == [b for b in blocks(UK) if b[0] in commands]


def test_both_languages_have_the_same_tables():
    assert len(tables(EN)) == len(tables(UK))
    for english, ukrainian in zip(tables(EN), tables(UK), strict=True):
        # What stands in backticks or is a figure is the same in every language.
        assert english.count("|") == ukrainian.count("|"), ukrainian
        assert re.findall(r"`[^`]*`", english) == re.findall(r"`[^`]*`", ukrainian), ukrainian


def test_the_table_of_clients_is_the_recorded_one():
    assert works_with.short_table() in EN, "run: scripts/works_with.py --table"


def test_the_ukrainian_text_is_ukrainian():
    prose = re.sub(r"```.*?```|`[^`]*`|<!--.*?-->|\([^)]*\)", "", UK, flags=re.DOTALL)
    cyrillic, latin = len(re.findall("[а-яіїєґ]", prose, re.IGNORECASE)), len(re.findall("[a-z]", prose, re.IGNORECASE))
    assert cyrillic > 3 * latin
    assert not re.search("[ыэъё]", prose, re.IGNORECASE)


def test_the_first_embedding_is_above_line_30_in_three_commands_at_most():
    head = "\n".join(EN.splitlines()[:30])
    first = blocks(head)[0]
    assert "scripts/manage.sh start" in first[1]
    assert len(first[1].splitlines()) <= 3


def test_the_settings_table_is_the_codes():
    between = re.search(r"<!-- settings: .*?-->\n(.*?)\n<!-- /settings -->", EN, re.DOTALL)[1]
    assert between == settings_table.table(), "run scripts/settings_table.py and paste it"


def test_every_setting_is_in_the_ukrainian_table_with_its_default():
    for variable, default, _ in settings_table.rows():
        shown = f"`{default}`" if default else ""
        assert f"| `{variable}` | {shown} |" in UK


def test_the_continue_block_and_the_json_blocks_parse():
    yaml = pytest.importorskip("yaml")
    for language, code in blocks(EN):
        if language == "yaml":
            assert yaml.safe_load(code)["models"][0]["roles"] == ["embed"]
        if language == "json" and "mcpServers" in code:
            json.loads(code)


CODE = [path for suffix in ("py", "sh", "c", "mjs") for top in TOPS for path in (ROOT / top).rglob(f"*.{suffix}")]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "memory-bank").rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere_from_the_page_that_has_them(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_of_code_that_a_page_names_is_in_the_repository(page):
    paths = ["/" + str(path.relative_to(ROOT)) for path in CODE]
    named = re.findall(r"`(?:python |pytest )?([\w./-]*[\w-]+\.(?:py|sh|c|mjs))\b", page.read_text())
    assert [name for name in named if not any(path.endswith("/" + name) for path in paths)] == []


def test_every_decision_is_in_the_log():
    log = (ROOT / "memory-bank/decisionLog.md").read_text()
    decisions = (ROOT / "memory-bank/decisions").glob("*.md")
    assert [page.name for page in decisions if f"decisions/{page.name}" not in log] == []


def test_every_block_is_run_or_listed_with_its_reason():
    """So that no command of the page is one that nobody ever typed."""
    known = [*JOURNEY, *NATIVELY, *IN_DOCKER, *NOT_RUN]
    assert len(known) == len(set(known))
    for _, code in blocks(EN):
        assert len([marker for marker in known if marker in code]) == 1, f"run it in tests/support/readme.py:\n{code}"
    for marker in known:
        assert sum(marker in code for _, code in blocks(EN)) == 1, marker


def test_the_example_of_settings_is_the_codes():
    assert (ROOT / ".env.example").read_text() == settings_table.example(), (
        "run: scripts/settings_table.py --env > .env.example"
    )


def test_the_example_with_every_line_uncommented_changes_nothing(tmp_path):
    said = tmp_path / ".env"
    said.write_text(re.sub(r"(?m)^#(?=[A-Z_]+=)", "", (ROOT / ".env.example").read_text()))
    values = sources.read(said)
    assert load_settings(values) == Settings()
    with_it, without = (client_settings({**given, "HOME": str(tmp_path)}) for given in (values, {}))
    assert [row[:2] for row in with_it.shown()] == [row[:2] for row in without.shown()]


def test_every_variable_that_the_scripts_and_compose_files_read_is_in_the_example():
    files = [*(ROOT / "scripts/lib").glob("*.sh"), ROOT / "scripts/manage.sh", *ROOT.glob("*/docker-compose*.yml")]
    read = set(
        re.findall(r"\$\{((?:EMBED|QDRANT_|HF_|DOCTOWN_|TORCH_)[A-Z_]*)\b", "".join(f.read_text() for f in files))
    )
    shown = set(re.findall(r"(?m)^#([A-Z_]+)=", (ROOT / ".env.example").read_text()))
    # Qdrant's own name for its key (QDRANT_API_KEY here), and the hub library's name for a part of HF_HOME
    assert read - shown == {"QDRANT__SERVICE__API_KEY", "HF_HUB_CACHE"}


@pytest.mark.slow
@pytest.mark.parametrize("ports", ["as written", "moved"])
def test_the_readmes_shell_blocks_run_in_order(tmp_path, ports):
    """Word for word, in this checkout, natively; tests/docker/test_readme.py does it in containers."""
    environment = clean_environment(
        EMBEDSERVE_RUNTIME="native", EMBEDDING_HOME=str(tmp_path / "home"), HF_HUB_OFFLINE="1"
    )
    if ports == "moved":
        environment |= {"EMBEDDING_PORT": str(free_port()), "QDRANT_PORT": str(free_port())}
    assert "api/admission.py" in (output := run_readme(environment, tmp_path)), output


def test_every_file_that_holds_a_law_exists():
    page = (ROOT / "memory-bank/decisions/laws.md").read_text()
    named = re.findall(r"`((?:tests|scripts)/[^`]+)`", page)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert {int(number) for number in re.findall(r"(?m)^\| (\d+) \|", page)} == set(range(1, 21))


@pytest.mark.parametrize("text", [EN, UK], ids=["README.md", "README.uk.md"])
def test_the_contents_name_every_chapter_and_each_link_inside_has_its_heading(text):
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    chapters = [line[3:] for line in outside.splitlines() if line.startswith("## ")]
    slugs = {re.sub(r"[^\w\s-]", "", name.lower()).strip().replace(" ", "-") for name in chapters}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= slugs
    contents = next(line for line in outside.splitlines() if line.startswith("**"))
    assert re.findall(r"\[([^\]]+)\]\(#", contents) == chapters[1:]
