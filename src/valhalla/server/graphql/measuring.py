"""How much a query asks for, before anything is asked: pure, and linear in the length of the query.

What a list costs is what it may answer: a field that asks the API costs 10, each item that it may return 1, and
whatever belongs to an item as often as there may be items. A fragment is measured once, however often it is spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    parse,
)
from graphql.error import GraphQLSyntaxError

from valhalla.kernel.problems import Invalid
from valhalla.server.graphql.errors import QueryTooLarge

ASK: Final = 10
PAGE: Final = 20
MOST: Final = 200
_TOKENS: Final = 2000
# far above any depth that is let through, far below what the parser's recursion takes
_NESTING: Final = 60
_OPENING, _CLOSING = "{[(", "}])"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that one query may ask for; ``aliases`` of all its fields together."""

    depth: int = 8
    cost: int = 5000
    aliases: int = 30


@dataclass(frozen=True, slots=True)
class Costs:
    """Which fields answer pages (they have ``limit``), and what others ask for."""

    pages: frozenset[str]
    asks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Size:
    """What a part of a query amounts to."""

    cost: int = 0
    depth: int = 0
    aliases: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.cost + other.cost, max(self.depth, other.depth), self.aliases + other.aliases)


def read(query: str) -> DocumentNode:
    """Parse a query.

    Raises:
        QueryTooLarge: it has too many tokens, or is nested too deeply to be parsed.
        GraphQLSyntaxError: it is no query.
    """
    depth = deepest = 0
    for character in query:
        depth += (character in _OPENING) - (character in _CLOSING)
        deepest = max(deepest, depth)
    if deepest > _NESTING:
        raise QueryTooLarge(f"the query is nested more than {_NESTING} deep")
    try:
        return parse(query, max_tokens=_TOKENS)
    except GraphQLSyntaxError as error:
        if "tokens" in error.message:
            raise QueryTooLarge(f"the query has more than {_TOKENS} tokens") from error
        raise


def check(document: DocumentNode, variables: Mapping[str, Any], costs: Costs, bounds: Bounds) -> Size:
    """Return the size of a query's largest operation.

    Raises:
        QueryTooLarge: it is over the bounds.
        Invalid: it is no query.
    """
    measuring = _Measuring(document, variables, costs)
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if any(node.operation is not OperationType.QUERY for node in operations):
        raise Invalid("nothing is changed or followed here: only queries are answered")
    sizes = [measuring.of(node.selection_set) for node in operations]
    size = max(sizes, key=lambda one: one.cost, default=Size())
    for name in ("depth", "cost", "aliases"):
        found, most = max((getattr(one, name) for one in sizes), default=0), getattr(bounds, name)
        if found > most:
            raise QueryTooLarge(f"its {name} is {found}, of {most} that one query may have", size={name: found})
    return size


class _Measuring:
    def __init__(self, document: DocumentNode, variables: Mapping[str, Any], costs: Costs) -> None:
        self._known_costs = costs
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._known: dict[str, Size] = {}
        self._open: set[str] = set()
        self._variables = variables

    def of(self, selections: SelectionSetNode | None) -> Size:
        total = Size()
        for node in () if selections is None else selections.selections:
            if isinstance(node, FieldNode):
                total += self._field(node)
            elif isinstance(node, InlineFragmentNode):
                total += self.of(node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                total += self._fragment(node.name.value)
        return total

    def _fragment(self, name: str) -> Size:
        if name in self._known:
            return self._known[name]
        node = self._fragments.get(name)
        if node is None or name in self._open:
            # unknown or a cycle: refused by the validation, which comes next
            return Size()
        self._open.add(name)
        self._known[name] = self.of(node.selection_set)
        self._open.discard(name)
        return self._known[name]

    def _field(self, node: FieldNode) -> Size:
        name, alias = node.name.value, 0 if node.alias is None else 1
        if name.startswith("__"):
            # the schema is small, and how deep one may look into it is bounded by the validation
            return Size(0 if name == "__typename" else 100, 1, alias)
        inner = self.of(node.selection_set)
        if node.selection_set is None:
            return Size(0, 1, alias)
        cost = self._known_costs.asks.get(name, 0) + inner.cost
        if name in self._known_costs.pages:
            cost = ASK + self._limit(node) * (1 + inner.cost)
        return Size(cost, inner.depth + 1, inner.aliases + alias)

    def _limit(self, node: FieldNode) -> int:
        for argument in node.arguments or ():
            if argument.name.value == "limit":
                value = argument.value
                if isinstance(value, VariableNode):
                    said = self._variables.get(value.name.value)
                    return min(max(said, 1), MOST) if isinstance(said, int) else MOST
                return min(max(int(value.value), 1), MOST) if isinstance(value, IntValueNode) else MOST
        return PAGE
