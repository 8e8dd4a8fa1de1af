"""A guarded call is a span of the trace that is being kept, on every path; outside of one it is none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from valhalla.guard import Guard
from valhalla.kit.spans import Local, Span, local, rooted
from valhalla.kit.trace import Trace, current, new_trace


class Kept:
    """Keeps every root with what happened inside."""

    def __init__(self) -> None:
        self.spans: dict[str, Span] = {}

    def begin(self, traceparent: str | None) -> Trace:
        del traceparent
        return new_trace()

    def end(self, root: Span, local: Local, correlation: str | None, principal: str | None, *, sampled: bool) -> None:
        self.spans = {each.name: each for each in (root, *local.spans)}


@pytest.mark.parametrize("key", [None, "order"], ids=["keyless", "key"])
def test_a_guarded_call_shows_in_the_tree(guard: Guard, key: str | None) -> None:
    seen: list[Trace | None] = []

    @guard.action("fetch", effect="reversible")
    def fetch(order: str) -> str:
        seen.append(current())
        return order

    @guard.action("pay", effect="reversible", key=key)
    def pay(order: str) -> str:
        return fetch(order)

    kept = Kept()
    with rooted(kept, "request", None):
        assert pay("o1") == "o1"
    root, outer, inner = (kept.spans[name] for name in ("request", "guard pay", "guard fetch"))
    assert (outer.parent_id, inner.parent_id) == (root.span_id, outer.span_id)
    assert outer.attributes["attempt"] == 1
    assert str(outer.attributes["id"])
    assert seen[0] is not None
    assert seen[0].span_id == inner.span_id
    assert pay("o2") == "o2"
    assert (local(), current(), seen[1]) == (None, None, None)


@pytest.mark.parametrize("key", [None, "order"], ids=["keyless", "key"])
async def test_async_calls_side_by_side_are_siblings(guard: Guard, key: str | None) -> None:
    @guard.action("pay", effect="reversible", key=key)
    async def pay(order: str) -> str:
        await asyncio.sleep(0)
        return order

    kept: list[Any] = []

    class All(Kept):
        def end(self, root: Span, local: Local, *_: Any, **__: Any) -> None:
            kept.extend((root, *local.spans))

    with rooted(All(), "request", None):
        assert await asyncio.gather(pay("a"), pay("b")) == ["a", "b"]
    root, *calls = kept
    assert [(each.name, each.parent_id) for each in calls] == [("guard pay", root.span_id)] * 2


def test_a_failed_attempt_is_a_failed_span(guard: Guard) -> None:
    @guard.action("pay", effect="idempotent", key="order", retries=1, retry_on=ConnectionError)
    def pay(order: str) -> str:
        tries.append(order)
        if len(tries) == 1:
            raise ConnectionError
        return order

    tries: list[str] = []
    spans: list[Span] = []

    class All(Kept):
        def end(self, root: Span, local: Local, *_: Any, **__: Any) -> None:
            spans.extend(local.spans)

    with rooted(All(), "request", None):
        assert pay("o1") == "o1"
    assert [(each.failed, each.attributes["attempt"]) for each in spans] == [(True, 1), (False, 2)]


def test_a_replay_is_no_call(guard: Guard) -> None:
    @guard.action("pay", effect="reversible", key="order")
    def pay(order: str) -> str:
        return order

    pay("o1")
    kept = Kept()
    with rooted(kept, "request", None):
        assert pay("o1") == "o1"
    assert set(kept.spans) == {"request"}
