"""The order in which things can be made. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Key = tuple[str, int]
"""The catalog and the oid: what Postgres calls a thing."""


@dataclass(frozen=True, slots=True)
class Node:
    """One thing to make; of several that could be next, the one with the smallest ``rank`` and text goes first."""

    key: Key
    rank: int
    statement: str


class Circle(Exception):  # noqa: N818 - what it is
    """Some things need each other, so that none can be first; ``statements`` makes them."""

    def __init__(self, statements: list[str]) -> None:
        super().__init__("; ".join(statements))
        self.statements = statements


def ordered(nodes: Iterable[Node], needs: Mapping[Key, set[Key]]) -> list[Node]:
    """Return the nodes so that each comes after what it needs; what is no node is taken as there.

    Raises:
        Circle: there is no such order.
    """
    known = {node.key: node for node in nodes}
    waits = {key: {need for need in needs.get(key, ()) if need in known and need != key} for key in known}
    wanted: dict[Key, list[Key]] = {}
    for key, missing in waits.items():
        for need in missing:
            wanted.setdefault(need, []).append(key)
    ready = [(node.rank, node.statement, key) for key, node in known.items() if not waits[key]]
    heapq.heapify(ready)
    found: list[Node] = []
    while ready:
        key = heapq.heappop(ready)[2]
        found.append(known[key])
        for waiting in wanted.get(key, ()):
            waits[waiting].discard(key)
            if not waits[waiting]:
                node = known[waiting]
                heapq.heappush(ready, (node.rank, node.statement, waiting))
    if len(found) < len(known):
        raise Circle(sorted(known[key].statement for key, missing in waits.items() if missing))
    return found
