"""Which language a file is in, and the tree-sitter grammar for it.

The grammars are the official per-language packages: each ships its compiled grammar in a wheel of some 100 KB,
and nothing is downloaded at run time. Files of a language without a grammar here are cut by lines.
A file whose extension is not in this table is not indexed (the clients keep such a list too).
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from dataclasses import dataclass
from typing import Any

from embedserve.errors import MissingExtra


@dataclass(frozen=True)
class Language:
    """`grammar`: module and function, or None: cut by lines. `lexer`: Pygments' name for the colours. Files over
    `max_bytes` are not indexed."""

    name: str
    extensions: tuple[str, ...]
    grammar: tuple[str, str] | None = None
    names: tuple[str, ...] = ()  # whole file names
    max_bytes: int = 2**20

    @property
    def lexer(self) -> str:
        return {"c-sharp": "csharp", "solidity": "text"}.get(self.name, self.name)


def _known(name: str, extensions: str, function: str = "language", module: str | None = None) -> Language:
    grammar = (f"tree_sitter_{module or name.replace('-', '_')}", function)
    return Language(name, tuple(extensions.split()), grammar)


LANGUAGES: tuple[Language, ...] = (
    _known("bash", ".sh .bash .zsh"),
    _known("c", ".c .h"),
    _known("c-sharp", ".cs"),
    _known("cpp", ".cpp .cc .cxx .hpp .hh .hxx .cu .cuh"),
    _known("css", ".css"),
    _known("elixir", ".ex .exs"),
    _known("go", ".go"),
    _known("hcl", ".tf .hcl"),
    _known("html", ".html .htm"),
    _known("java", ".java"),
    _known("javascript", ".js .jsx .mjs .cjs"),
    _known("json", ".json"),
    _known("kotlin", ".kt .kts"),
    _known("lua", ".lua"),
    _known("ocaml", ".ml", "language_ocaml"),
    _known("ocaml-interface", ".mli", "language_ocaml_interface", "ocaml"),
    _known("php", ".php", "language_php"),
    _known("python", ".py .pyi .pyx"),
    _known("ruby", ".rb .rake"),
    _known("rust", ".rs"),
    _known("scala", ".scala .sc"),
    _known("solidity", ".sol"),
    _known("sql", ".sql"),
    _known("swift", ".swift"),
    _known("toml", ".toml"),
    _known("typescript", ".ts .mts .cts", "language_typescript"),
    _known("tsx", ".tsx", "language_tsx", "typescript"),
    _known("yaml", ".yaml .yml"),
    _known("zig", ".zig"),
    Language("notebook", (".ipynb",), max_bytes=32 * 2**20),  # most of it are pictures, which are not indexed
    Language("markdown", (".md", ".markdown", ".mdx")),
    Language("vue", (".vue",)),
    Language("svelte", (".svelte",)),
    Language("scss", (".scss", ".less", ".sass")),
    Language("template", (".ejs", ".erb", ".j2", ".jinja")),
    Language("restructuredtext", (".rst",)),
    Language("xml", (".xml", ".xsd", ".xsl", ".xslt", ".wsdl", ".csproj", ".fsproj", ".vbproj", ".props", ".targets")),
    Language("ini", (".ini", ".cfg", ".conf", ".properties", ".editorconfig")),
    Language("protobuf", (".proto",)),
    Language("graphql", (".graphql", ".gql")),
    Language("dart", (".dart",)),
    Language("r", (".r",)),
    Language("julia", (".jl",)),
    Language("haskell", (".hs",)),
    Language("erlang", (".erl", ".hrl")),
    Language("clojure", (".clj", ".cljs", ".cljc")),
    Language("perl", (".pl", ".pm")),
    Language("powershell", (".ps1", ".psm1")),
    Language("objective-c", (".m", ".mm")),
    Language("elisp", (".el",)),
    Language("elm", (".elm",)),
    Language("tla", (".tla",)),
    Language("systemrdl", (".rdl",)),
    Language("vb.net", (".vb",)),
    Language("nix", (".nix",)),
    Language("groovy", (".groovy", ".gradle"), names=("jenkinsfile",)),
    Language("make", (".mk",), names=("makefile", "gnumakefile")),
    Language("cmake", (".cmake",), names=("cmakelists.txt",)),
    Language("docker", (".dockerfile",), names=("dockerfile", "containerfile")),
)

# Written by tools and of no use in a search; the clients index them.
_NOT_WRITTEN_BY_PEOPLE = frozenset(
    {"package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "composer.lock", "poetry.lock"}
)
_BY_EXTENSION = {extension: language for language in LANGUAGES for extension in language.extensions}
_BY_NAME = {name: language for language in LANGUAGES for name in language.names}
_BY_LANGUAGE = {language.name: language for language in LANGUAGES}
PYTHON = _BY_LANGUAGE["python"]


def language_of(path: str) -> Language | None:
    """The language of a file by its name, or None: not a file to index."""
    name = os.path.basename(path).lower()
    if name in _NOT_WRITTEN_BY_PEOPLE:
        return None
    return _BY_NAME.get(name) or _BY_EXTENSION.get(os.path.splitext(name)[1])


_INTERPRETERS = {
    **dict.fromkeys(("sh", "bash", "zsh", "dash", "ksh"), "bash"),
    **dict.fromkeys(("python", "pypy", "uv"), "python"),
    **dict.fromkeys(("node", "nodejs", "bun", "zx"), "javascript"),
    **dict.fromkeys(("deno", "ts-node", "tsx"), "typescript"),
    **{name: name for name in ("ruby", "perl", "php", "lua", "elixir", "julia", "groovy")},
    "rscript": "r",
    "pwsh": "powershell",
}


def language_of_shebang(head: bytes) -> Language | None:
    """The language of a file without a suffix by its first line (`#!/usr/bin/env -S python3 -u`), or None."""
    if not head.startswith(b"#!"):
        return None
    words = head[2:].split(b"\n")[0].decode("utf-8", "replace").split()
    names = [word.rsplit("/", 1)[-1].lower() for word in words if not word.startswith("-") and "=" not in word]
    if names[:1] == ["env"]:
        names = names[1:]
    if not names:
        return None
    return _BY_LANGUAGE.get(_INTERPRETERS.get(names[0].rstrip("0123456789."), ""))


def find_language(wanted: str) -> Language | None:
    """A language by its name ("python") or an extension ("py", ".py")."""
    wanted = wanted.lower()
    return _BY_LANGUAGE.get(wanted) or _BY_EXTENSION.get("." + wanted.lstrip("."))


@functools.cache
def parser_for(language: Language) -> Any:
    """A tree_sitter.Parser, or None where the language is cut by lines. Raises MissingExtra."""
    if language.grammar is None:
        return None
    module, function = language.grammar
    try:
        import tree_sitter

        grammar = getattr(importlib.import_module(module), function)()
    except ImportError:
        raise MissingExtra(f"indexing {language.name} files", "search") from None
    with warnings.catch_warnings():
        # Some grammar packages still hand over the pointer as an int; it is the same pointer.
        warnings.simplefilter("ignore", DeprecationWarning)
        return tree_sitter.Parser(tree_sitter.Language(grammar))
