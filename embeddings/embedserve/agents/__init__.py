"""Writes our MCP server into the configuration files of coding agents, and takes it out again.

`known.py` says which agents there are, where each keeps its file and what an entry looks like; `edit_json.py` and
`edit_toml.py` put an entry into a text and take it out, every other byte kept; `install.py` does it to files.
"""
