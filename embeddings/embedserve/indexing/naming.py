"""What a node of a syntax tree defines: its kind (function, class, ..) and its names, over all grammars.

A table of node types gives the kind; the name is the grammar's `name` field where it has one, else what the node's
head calls itself (a C declarator, a JavaScript declarator, an assignment's left side, HCL labels). It knows single
nodes only, no files and no chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_KINDS = {
    "function": """function_definition function_declaration generator_function_declaration function_item
        local_function create_function local_function_statement macro_definition modifier_definition test_declaration
        fallback_receive_definition function_signature_item""",
    "method": """method_definition method_declaration constructor_declaration method singleton_method
        init_declaration deinit_declaration constructor_definition destructor_declaration operator_declaration
        secondary_constructor""",
    "class": """class_definition class_declaration abstract_class_declaration class_specifier object_declaration
        object_definition companion_object record_declaration class create_table create_view""",
    "interface": "interface_declaration annotation_type_declaration protocol_declaration",
    "trait": "trait_declaration trait_definition trait_item",
    "enum": "enum_declaration enum_definition enum_item enum_specifier",
    "struct": "struct_declaration struct_item struct_specifier union_item union_specifier struct_definition",
    "impl": "impl_item extension_definition given_definition",
    "module": """internal_module module namespace_declaration file_scoped_namespace_declaration
        namespace_definition mod_item module_definition module_type_definition contract_declaration
        library_declaration""",
    "type": "type_declaration type_alias_declaration type_item type_definition delegate_declaration type_alias",
    "variable": """lexical_declaration variable_declaration const_declaration const_item static_item
        value_definition property_declaration val_definition var_definition""",
    "event": "event_definition event_declaration error_declaration",
    "wrapper": "decorated_definition export_statement ambient_declaration template_declaration",
    "rule": "rule_set media_statement",
    "block": "block table table_array_element statement element script_element style_element",
}
_KIND = {node: kind for kind, nodes in _KINDS.items() for node in nodes.split()}
# Types that define something in one language only; elsewhere they are bodies or parts.
_ONLY_IN = {
    "block": {"hcl"},
    "statement": {"sql"},
    "table": {"toml"},
    "table_array_element": {"toml"},
    "element": {"html"},
    "module": {"ruby"},
    "class": {"ruby"},
    "method": {"ruby"},
}
_NEED_BODY = frozenset({"struct_specifier", "enum_specifier", "class_specifier", "union_specifier"})
FUNCTIONS = frozenset({"function", "method"})
_FUNCTION_VALUES = frozenset(
    {"arrow_function", "function_expression", "function", "generator_function", "function_definition"}
)
_ELIXIR = {
    "def": "function", "defp": "function", "defmacro": "function", "defmacrop": "function", "defguard": "function",
    "defmodule": "module", "defprotocol": "interface", "defimpl": "impl",
}  # fmt: skip
_NAME_NODES = """
identifier type_identifier field_identifier property_identifier simple_identifier constant word name value_name
type_constructor module_name object_reference namespace_identifier operator_name dotted_key bare_key quoted_key
private_property_identifier alias selectors
"""
_IDENTIFIERS = frozenset(_NAME_NODES.split())
_HEAD_DEPTH = 5


def kind_of(node: Any, language: str) -> str | None:
    """function, method, class, .. for a node that defines something; "assigned" for an assignment to a name."""
    node_type = node.type
    kind = _KIND.get(node_type)
    if kind is None:
        return _kind_of_statement(node, language)
    if not node.is_named or language not in _ONLY_IN.get(node_type, (language,)):
        return None
    if node_type in _NEED_BODY and node.child_by_field_name("body") is None:
        return None
    if kind == "wrapper":
        inner = unwrapped(node)
        return None if inner is node else kind_of(inner, language)
    if kind == "type" and language == "go":
        return _kind_of_go_type(node)
    if kind == "variable" and any(value.type in _FUNCTION_VALUES for value in _values(node)):
        return "function"
    return kind


def _kind_of_statement(node: Any, language: str) -> str | None:
    node_type = node.type
    if node_type == "expression_statement" and node.child_count:
        inner = node.children[0]
        if inner.type == "assignment" and language == "python":
            left = inner.child_by_field_name("left")
            return "assigned" if left is not None and left.type == "identifier" else None
        if inner.type == "assignment_expression":
            right = inner.child_by_field_name("right")
            return "function" if right is not None and right.type in _FUNCTION_VALUES else None
    if node_type == "call" and language == "elixir":
        return _ELIXIR.get(_text(node.child_by_field_name("target")))
    if node_type == "assignment" and language == "ruby":
        left = node.child_by_field_name("left")
        return "assigned" if left is not None and left.type == "constant" else None
    return None


def _kind_of_go_type(node: Any) -> str:
    for child in node.children:
        value = child.child_by_field_name("type") if child.type in ("type_spec", "type_alias") else None
        if value is not None:
            return {"struct_type": "struct", "interface_type": "interface"}.get(value.type, "type")
    return "type"


def unwrapped(node: Any) -> Any:
    """The definition inside an `export`, a decorator or a template; the node itself where there is none."""
    while _KIND.get(node.type) == "wrapper":
        inner = node.child_by_field_name("definition") or node.child_by_field_name("declaration")
        if inner is None:
            inner = next((child for child in node.children if child.type in _KIND), None)
        if inner is None:
            return node
        node = inner
    return node


def names_of(node: Any, language: str) -> tuple[str, ...]:
    """The names that a definition gives, the outermost first for a dotted one; () for none."""
    if language == "hcl":
        return _hcl_labels(node)
    if language == "elixir":
        arguments = next((child for child in node.children if child.type == "arguments"), None)
        return _one(_first_identifier(arguments, _HEAD_DEPTH)) if arguments is not None else ()
    if language == "html" or node.type in ("media_statement", "script_element", "style_element", "statement"):
        return ()
    if node.type == "expression_statement":
        left = node.children[0].child_by_field_name("left")
        return _one(_last_part(_text(left)))
    if node.type == "assignment":
        return _one(_text(node.child_by_field_name("left")))
    if node.type == "impl_item":
        return _one(_first_identifier(node.child_by_field_name("type"), _HEAD_DEPTH))
    several = tuple(name for declarator in _declarators(node) if (name := _declared(declarator)))
    return several or _one(_declared(node))


def receiver_of(node: Any, language: str) -> tuple[str, ...]:
    """The type that a Go method or a C++ member belongs to, though it stands outside of it."""
    if language == "go" and node.type == "method_declaration":
        names = [child for child in _below(node.child_by_field_name("receiver"), 5) if child.type == "type_identifier"]
        return _one(_text(names[-1]) if names else "")
    if language == "cpp" and node.type == "function_definition":
        for child in _below(node.child_by_field_name("declarator"), 5):
            if child.type == "qualified_identifier":
                return _one(_last_part(_text(child.child_by_field_name("scope"))))
    return ()


def _declarators(node: Any) -> list[Any]:
    return [c for c in node.children if c.type in ("variable_declarator", "type_spec", "const_spec", "let_binding")]


def _values(node: Any) -> Iterator[Any]:
    for declarator in _declarators(node):
        value = declarator.child_by_field_name("value")
        if value is not None:
            yield value


def _declared(node: Any) -> str:
    """The name that a definition or declarator gives."""
    for field in ("name", "pattern", "declarator", "type"):
        found = node.child_by_field_name(field)
        if found is not None and found.type not in ("object_pattern", "array_pattern"):
            if field == "name" and not found.child_count:
                return _text(found)
            name = _first_identifier(found, _HEAD_DEPTH)
            if name:
                return name
    body = node.child_by_field_name("body")
    for child in node.children:
        if body is not None and child.start_byte >= body.start_byte:
            break
        if child.is_named and child.type not in ("modifiers", "comment", "attribute_list", "decorator"):
            name = _first_identifier(child, 2)
            if name:
                return name
    return ""


def _first_identifier(node: Any, depth: int) -> str:
    """The name in a declarator; of a qualified one (`Store::get`, `a.b.c`) the last part."""
    if node is None:
        return ""
    if node.type == "selectors":  # of CSS
        return _text(node)
    if node.type in _IDENTIFIERS and (not node.child_count or node.type == "object_reference"):
        return _last_part(_text(node))
    if node.type in ("qualified_identifier", "scoped_identifier", "dotted_index_expression", "method_index_expression"):
        return _last_part(_text(node))
    if depth > 0:
        for child in node.children:
            if child.is_named and (name := _first_identifier(child, depth - 1)):
                return name
    return ""


def _below(node: Any, depth: int) -> Iterator[Any]:
    if node is None:
        return
    yield node
    if depth:
        for child in node.children:
            yield from _below(child, depth - 1)


def _hcl_labels(node: Any) -> tuple[str, ...]:
    head = [c for c in node.children if c.type in ("identifier", "string_lit")]
    return _one(".".join(_text(child).strip('"') for child in head))


def _text(node: Any) -> str:
    return "" if node is None else bytes(node.text or b"").decode("utf-8", "replace")


def _last_part(text: str) -> str:
    for mark in ("::", ".", ":"):
        text = text.rsplit(mark, 1)[-1]
    return text.strip("'\"` \n\t~&*")


def _one(name: str) -> tuple[str, ...]:
    return (name,) if name and len(name) <= 100 and "\n" not in name else ()
