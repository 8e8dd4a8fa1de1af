"""What a span becomes as a row, and how rows become a tree. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from valhalla.features.observability.tracing.contracts import Kept, Node, Stored
from valhalla.kit.redact import redact, storable, text

_NAME: Final = 300
_LATEST: Final = 253_402_300_000.0
_YEAR: Final = 31_536_000.0


def row(kept: Kept) -> dict[str, Any]:
    """Return the row of a span, redacted."""
    span = kept.span
    return {
        "at": datetime.fromtimestamp(kept.at, UTC),
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "entry": kept.entry,
        "service": storable(kept.service[:100]),
        "name": text(span.name, limit=_NAME),
        "kind": span.kind,
        "status": "error" if span.failed else "ok",
        "started_at": datetime.fromtimestamp(min(max(span.started, 0.0), _LATEST), UTC),
        "seconds": min(max(span.seconds, 0.0), _YEAR),
        "correlation_id": kept.correlation and storable(kept.correlation[:128]),
        "principal": kept.principal and storable(kept.principal[:200]),
        "attributes": redact(span.attributes) if span.attributes else None,
    }


def tree(spans: Iterable[Stored]) -> Sequence[Node]:
    """Return the spans of a trace under those that caused them.

    One whose cause is not here is a root, a repeated one is left out, and a circle is entered where it begins first.
    """
    known: dict[str, Stored] = {}
    for span in sorted(spans, key=lambda each: (each.started_at, each.span_id)):
        known.setdefault(span.span_id, span)
    below: dict[str | None, list[Stored]] = {}
    for span in known.values():
        parent = span.parent_id if span.parent_id in known and span.parent_id != span.span_id else None
        below.setdefault(parent, []).append(span)
    placed: set[str] = set()
    roots = [_node(span, below, placed) for span in below.get(None, [])]
    # one by one: each takes those out that it leads to
    roots.extend(_node(span, below, placed) for span in known.values() if span.span_id not in placed)
    return sorted(roots, key=lambda node: node.span.started_at)


def _node(top: Stored, below: dict[str | None, list[Stored]], placed: set[str]) -> Node:
    # no recursion: a client may send a chain as deep as it likes
    order: list[Stored] = []
    waiting = [top]
    placed.add(top.span_id)
    children: dict[str, list[Stored]] = {}
    while waiting:
        span = waiting.pop()
        order.append(span)
        mine = [each for each in below.get(span.span_id, []) if each.span_id not in placed]
        placed.update(each.span_id for each in mine)
        children[span.span_id] = mine
        waiting += mine
    made: dict[str, Node] = {}
    for span in reversed(order):
        made[span.span_id] = Node(span, tuple(made.pop(child.span_id) for child in children[span.span_id]))
    return made[top.span_id]
