"""An entry in JSON and TOML files: put in and taken out, every other byte the same."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedserve.agents import edit_json, edit_toml, jsonc
from embedserve.agents.edit_json import CannotEdit
from embedserve.agents.install import is_ours

ENTRY = {"command": "/opt/embedserve", "args": ["mcp", "--workspace", "${workspaceFolder}"]}
OTHER = {"command": "/opt/embedserve", "args": ["mcp"]}


def put(text: str | None, entry: dict[str, Any] = ENTRY) -> str:
    return edit_json.with_entry(text, "mcpServers", "embedserve", entry, is_ours)


def out(text: str) -> str | None:
    return edit_json.without_entry(text, "mcpServers", "embedserve", is_ours)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=6), c, max_size=3),
    max_leaves=8,
)
SERVERS = st.dictionaries(st.text(max_size=6).filter(lambda key: key != "embedserve"), JSON, min_size=1, max_size=3)
ROOTS = st.dictionaries(st.text(max_size=6).filter(lambda key: key != "mcpServers"), JSON, max_size=3)


@given(ROOTS, st.none() | SERVERS, st.sampled_from([None, 2, 4, "\t"]), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(deadline=None, max_examples=200)
def test_any_json_file_has_the_entry_after_install_and_its_own_bytes_after_uninstall(
    root: dict[str, Any], servers: dict[str, Any] | None, indent: Any, newline: str, first: bool
) -> None:
    if servers is not None:
        root = {"mcpServers": servers, **root} if first else {**root, "mcpServers": servers}
    text = json.dumps(root, indent=indent).replace("\n", newline)
    installed = put(text)
    assert json.loads(installed) == {**root, "mcpServers": {**(servers or {}), "embedserve": ENTRY}}
    assert newline not in text or "\n" not in installed.replace(newline, "")
    assert put(installed) == installed
    changed = put(installed, OTHER)
    assert json.loads(changed)["mcpServers"]["embedserve"] == OTHER
    for one in (installed, changed):
        assert out(one) == (text if root else None)


@pytest.mark.parametrize(
    "text",
    [
        '{\n  // mine\n  "mcpServers": {\n    "a": {"command": "x"}, // the first\n  },\n}\n',
        '{\n\t"mcpServers": {\n\t\t"a": {\n\t\t\t"command": "x"\n\t\t} // last\n\t}, /* end */\n\t"b": 1\n}',
        '\ufeff{"mcpServers": {"a": {}},}',
        '{ "b": [1, 2], /* c */ }\n// after\n',
        '{\n  "b": 1 // no comma here\n}\n',
    ],
)
def test_comments_trailing_commas_and_a_bom_stay(text: str) -> None:
    installed = put(text)
    assert jsonc.parse(installed).root.value["mcpServers"]["embedserve"] == ENTRY  # type: ignore[union-attr]
    assert [c.text for c in jsonc.parse(installed).comments] == [c.text for c in jsonc.parse(text).comments]
    assert out(installed) == text


def test_an_entry_among_later_ones_is_taken_out_alone() -> None:
    text = put('{\n  "mcpServers": {\n    "a": {}\n  }\n}\n')
    later = text.replace("\n  }\n}\n", ',\n    "z": {}\n  }\n}\n')
    assert out(later) == '{\n  "mcpServers": {\n    "a": {},\n    "z": {}\n  }\n}\n'


def test_a_file_of_ours_alone_is_made_and_goes() -> None:
    made = put(None)
    assert made == put("") == put("  \n")
    assert json.loads(made) == {"mcpServers": {"embedserve": ENTRY}}
    assert out(made) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{broken", "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"mcpServers": []}', "is not an object"),
        ('{"mcpServers": {"embedserve": {"command": "somebody"}}}', "does not run embedserve"),
        ('{"mcpServers": {}, "mcpServers": {}}', "is there 2 times"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(CannotEdit, match=why):
        put(text)


# --- TOML

TABLES = [
    "",
    "# only a comment\n",
    'model = "o3"',
    'model = "o3" # why\n\n[mcp_servers.a]\ncommand = "y"\nargs = []\n\n[profiles.z]\nmodel = "q"\n',
    'model = "x"\r\n[mcp_servers]\r\n[mcp_servers.a]\r\ncommand = "y"\r\n',
    "[mcp_servers.a]\nb = 1\n[other]\nc = 1\n[mcp_servers.d]\ne = 1\n",
    'mcp_servers.a.command = "x"\n[z]\ny = """\n[mcp_servers.embedserve]\n"""\n',
]


@pytest.mark.parametrize("text", TABLES)
def test_any_toml_file_has_the_table_after_install_and_its_own_bytes_after_uninstall(text: str) -> None:
    installed = edit_toml.with_entry(text, "mcp_servers", "embedserve", ENTRY, is_ours)
    before = tomllib.loads(text)
    wanted = {**before, "mcp_servers": {**before.get("mcp_servers", {}), "embedserve": ENTRY}}
    assert tomllib.loads(installed) == wanted
    assert edit_toml.with_entry(installed, "mcp_servers", "embedserve", ENTRY, is_ours) == installed
    changed = edit_toml.with_entry(installed, "mcp_servers", "embedserve", OTHER, is_ours)
    assert tomllib.loads(changed)["mcp_servers"]["embedserve"] == OTHER
    for one in (installed, changed):
        assert (edit_toml.without_entry(one, "mcp_servers", "embedserve", is_ours) or "") == text


def test_a_table_whose_comments_the_agent_dropped_is_taken_out_too() -> None:
    table = '[mcp_servers.embedserve]\ncommand = "/opt/embedserve"\nargs = ["mcp"]\n\n'
    text = table + '[mcp_servers.embedserve.env]\nA = "1"\n\n[b]\nc = 1\n'
    after = edit_toml.without_entry(text, "mcp_servers", "embedserve", is_ours)
    assert tomllib.loads(after or "") == {"b": {"c": 1}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[broken", "not valid TOML"),
        ("mcp_servers = { a = { command = 'x' } }\n", "inline table"),
        ("mcp_servers = 1\n", "is not a table"),
        ("[mcp_servers.embedserve]\ncommand = 'somebody'\n", "does not run embedserve"),
    ],
)
def test_toml_that_cannot_take_a_table_is_refused(text: str, why: str) -> None:
    with pytest.raises(CannotEdit, match=why):
        edit_toml.with_entry(text, "mcp_servers", "embedserve", ENTRY, is_ours)
