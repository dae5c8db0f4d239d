"""Cuts source code along its syntax tree: a definition is a piece, what lies between is packed.

One pass over the tree, in file order. A definition of several lines that fits into a piece becomes one, with the
comment or attributes directly above it. One that is too large is opened: its signature and statements are
packed, the definitions inside it become pieces of their own. Everything else (imports, constants,
statements) is collected and packed. Every line goes to one piece at the most, and pieces are whole lines.

It needs no query for each language: the kinds of node that define something have telling names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from embedserve.indexing.text import MAX_CHARS, MIN_CHARS, Lines, Piece, Span, pack

MAX_DEPTH = 200  # generated code nests without end; deeper parts are cut by lines

_NODES = """
function_definition class_definition decorated_definition
function_declaration generator_function_declaration class_declaration abstract_class_declaration
method_definition interface_declaration type_alias_declaration enum_declaration export_statement
lexical_declaration variable_declaration internal_module ambient_declaration
method_declaration type_declaration const_declaration constructor_declaration record_declaration
annotation_type_declaration property_declaration struct_declaration namespace_declaration
file_scoped_namespace_declaration delegate_declaration object_declaration protocol_declaration
companion_object trait_declaration trait_definition object_definition enum_definition
function_item struct_item enum_item trait_item impl_item mod_item macro_definition union_item type_item
struct_specifier enum_specifier class_specifier union_specifier type_definition namespace_definition
template_declaration method singleton_method class module
value_definition module_definition module_type_definition
contract_declaration library_declaration modifier_definition event_definition
test_declaration rule_set media_statement block table table_array_element
create_table create_function create_view statement element script_element style_element
init_declaration extension_definition given_definition
"""
DEFINITIONS = frozenset(_NODES.split())
# `block` and `statement` define something in HCL and SQL only; elsewhere they are bodies.
_AMBIGUOUS = {"block": "hcl", "statement": "sql", "table": "toml", "element": "html"}


def cut_syntax(lines: Lines, tree: Any, language: str) -> Iterator[Piece]:
    """Pieces of a parsed file, in order. `tree`: of tree-sitter, made from the same text."""
    cutter = _Cutter(lines, language)
    cutter.children(tree.root_node, depth=0)
    cutter.flush()
    return (piece for group in cutter.groups for piece in pack(lines, group))


class _Cutter:
    def __init__(self, lines: Lines, language: str) -> None:
        self.lines = lines
        self.language = language
        self.groups: list[list[Span]] = []
        self._loose: list[Span] = []  # what lies between definitions
        self._above: list[Span] = []  # comments that may belong to the next definition
        self._opened = 0  # how many definitions we are inside of
        self._row = 0  # the first row that no span has taken

    def children(self, node: Any, depth: int) -> None:
        for child in node.children:
            span = (max(child.start_point[0], self._row), _last_row(child))
            if span[1] < span[0]:
                continue
            if _is_leading(child):
                if self._with_comment(span) == span:  # a blank line after the comment before
                    self._settle()
                self._add(self._above, span)
            elif self._defines(child, span):
                self._definition(child, span, depth)
            else:
                self._settle()
                # Inside an opened definition go on to its statements, so that it can be cut evenly.
                fits = self.lines.size(span) <= (MAX_CHARS if self._opened == 0 else MAX_CHARS // 3)
                if fits or not child.child_count or depth > MAX_DEPTH:
                    self._add(self._loose, span)
                else:
                    self.children(child, depth + 1)
                    self._settle()

    def flush(self) -> None:
        """End the group: nothing before is packed with anything after."""
        self._settle()
        if self._loose:
            self.groups.append(self._loose)
            self._loose = []

    def _definition(self, node: Any, span: Span, depth: int) -> None:
        whole = self._with_comment(span)
        above = self._above if whole != span else []
        if not above:
            self._settle()
        self._above = []
        scrap = self._take_scrap()
        if self._fits(whole):
            joined = (scrap[0][0], whole[1]) if scrap else whole
            self.groups.append([joined if self._fits(joined) else whole])
            self._row = span[1] + 1
            return
        self._loose = scrap + above
        if depth > MAX_DEPTH or not node.child_count:
            self._add(self._loose, span)
        else:
            self._opened += 1
            self.children(node, depth + 1)
            self._opened -= 1
        self.flush()

    def _defines(self, node: Any, span: Span) -> bool:
        kind = node.type
        return (
            node.is_named
            and kind in DEFINITIONS
            and _AMBIGUOUS.get(kind, self.language) == self.language
            and span[1] > span[0]
            and self.lines.size(self._with_comment(span)) >= MIN_CHARS
        )

    def _with_comment(self, span: Span) -> Span:
        """The definition with what stands directly above it; a blank line parts the two."""
        adjacent = self._above and self._above[-1][1] + 1 >= span[0]
        return (self._above[0][0], span[1]) if adjacent else span

    def _take_scrap(self) -> list[Span]:
        """End the group before a definition; what is too small for a piece (`class A:`, a constant) is returned."""
        loose, self._loose = self._loose, []
        if not loose:
            return []
        text = self.lines.text((loose[0][0], loose[-1][1])).strip()
        if len(text) >= MIN_CHARS:
            self.groups.append(loose)
            return []
        return loose if any(map(str.isalnum, text)) else []  # closing brackets say nothing

    def _fits(self, span: Span) -> bool:
        return self.lines.size(span) <= MAX_CHARS

    def _settle(self) -> None:
        """Comments that turned out to stand above no definition."""
        self._loose.extend(self._above)
        self._above = []

    def _add(self, spans: list[Span], span: Span) -> None:
        spans.append(span)
        self._row = span[1] + 1


def _last_row(node: Any) -> int:
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row


def _is_leading(node: Any) -> bool:
    return node.is_named and (
        "comment" in node.type or node.type in ("attribute_item", "decorator", "annotation", "attribute_list")
    )
