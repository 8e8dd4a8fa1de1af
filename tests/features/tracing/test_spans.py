"""Spans nest, are carried, and are kept when they matter."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import pytest
from tests.features.tracing.recording import tracer

from valhalla.features.observability.tracing import rules
from valhalla.kernel.problems import Invalid, Unavailable
from valhalla.kit.spans import Local, local, rooted, span
from valhalla.kit.trace import current, new_trace, parse, render, traced


def test_outside_of_a_root_a_span_is_nothing() -> None:
    with span("x") as one:
        one.note(a=1)
        assert (local(), current()) == (None, None)


async def test_spans_nest_also_across_tasks() -> None:
    kept = tracer(share=1.0)

    async def inner() -> None:
        with span("inner"):
            await asyncio.sleep(0)

    with rooted(kept, "job x", None):
        with span("outer", kind="client", a=1):
            await asyncio.create_task(inner())
        with span("after"):
            pass
    rows = {row["name"]: row for row in (rules.row(each) for each in kept.batches._waiting)}
    root = rows["job x"]
    assert {row["trace_id"] for row in rows.values()} == {root["trace_id"]}
    assert rows["outer"]["parent_id"] == rows["after"]["parent_id"] == root["span_id"]
    assert rows["inner"]["parent_id"] == rows["outer"]["span_id"]
    assert (root["entry"], rows["outer"]["entry"], rows["outer"]["kind"]) == (True, False, "client")
    assert (local(), current()) == (None, None)


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [(None, False), (ValueError("x"), True), (Unavailable("p", "x"), True), (Invalid("x"), False)],
    ids=["fine", "failed", "problem-of-ours", "refusal"],
)
def test_what_failed_is_kept_and_the_rest_only_if_it_was_drawn(error: Exception | None, *, is_kept: bool) -> None:
    for inside in (True, False):
        kept = tracer()

        def work(inside: bool) -> None:
            if inside:
                with span("inner"):
                    if error:
                        raise error
            elif error:
                raise error

        with contextlib.suppress(Exception), rooted(kept, "job", None):
            work(inside)
        assert bool(len(kept.batches)) is is_kept
    drawn = tracer(share=0.5, draw=lambda: 0.4)
    with rooted(drawn, "job", None):
        pass
    assert len(drawn.batches) == 1


def test_what_was_slow_is_kept_and_the_caller_decides_for_its_trace() -> None:
    kept = tracer(slow=timedelta(0))
    with rooted(kept, "job", None):
        pass
    assert len(kept.batches) == 1
    for sampled in (True, False):
        caller = new_trace(sampled=sampled)
        kept = tracer()
        with rooted(kept, "job", render(caller)):
            here = current()
            assert here is not None
            assert (here.trace_id, here.parent_id, here.sampled) == (caller.trace_id, caller.span_id, sampled)
        assert len(kept.batches) == sampled


def test_without_a_place_for_spans_the_trace_is_carried_on() -> None:
    caller = new_trace()
    with rooted(None, "job", render(caller)):
        here = current()
        assert here is not None
        assert here.trace_id == caller.trace_id
    with rooted(None, "job", "garbage"):
        assert current() is None


def test_a_request_with_many_spans_stays_small() -> None:
    kept = tracer(share=1.0)
    with rooted(kept, "job", None):
        where = local()
        for _ in range(250):
            with span("x"):
                pass
    assert isinstance(where, Local)
    assert (len(where.spans), where.left_out, len(kept.batches)) == (200, 50, 201)


def test_a_trace_is_handed_on_as_w3c_has_it() -> None:
    place = new_trace(sampled=False)
    with traced(place):
        assert parse(render(place)) == place
