"""Who may know what, which topics cover what, and which numbers may still come."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.observability.stream import rules
from valhalla.features.observability.stream.contracts import NOTHING, Bounds, Frame
from valhalla.features.observability.stream.errors import TooManyStreams
from valhalla.features.observability.stream.following import follow
from valhalla.features.observability.stream.hub import Hub, Listener
from valhalla.features.observability.stream.reader import Position
from valhalla.features.observability.stream.sse import EventStream, render
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Forbidden, Invalid, Unavailable
from valhalla.kernel.scopes import SCOPES
from valhalla.kit.outbox import Event


def principal(*scopes: str, owner: str = "a") -> Principal:
    return Principal(f"id-{owner}", owner, frozenset(scopes))


def event(number: int, subject: str = "job.1", **data: Any) -> Event:
    kind = subject.partition(".")[0] + ".happened"
    return Event(number, f"u{number}", subject, kind, data, None, datetime(2026, 1, 1, tzinfo=UTC))


def test_every_scope_of_a_topic_exists() -> None:
    assert {*rules.SCOPES.values(), *rules.REGISTRIES.values()} <= SCOPES.keys()


@pytest.mark.parametrize(
    ("who", "subject", "owner", "told"),
    [
        (principal("sandbox:read"), "sandbox.1", "a", True),
        (principal("sandbox:write"), "sandbox.1", "a", True),
        (principal("sandbox:read"), "sandbox.1", "b", False),
        (principal("sandbox:read"), "sandbox.1", None, False),
        (principal("admin"), "sandbox.1", "b", True),
        (principal("jobs:read"), "sandbox.1", "a", False),
        (principal("jobs:read"), "job.1", None, True),
        (principal("holds:read"), "action.1", None, True),
        (principal("keys:read"), "registry.api_clients", None, True),
        (principal("flags:read"), "registry.api_clients", None, False),
        (principal("sandbox:*", "jobs:*"), "unheard-of.1", None, False),
        (principal("admin"), "unheard-of.1", None, True),
    ],
    ids=lambda value: "+".join(sorted(value.scopes)) if isinstance(value, Principal) else str(value),
)
def test_who_may_know_what(who: Principal, subject: str, owner: str | None, told: bool) -> None:
    assert rules.may_know(who, subject, {} if owner is None else {"owner": owner}) is told


def test_topics() -> None:
    assert rules.parse(None) == frozenset()
    assert rules.parse("sandbox, job.1,,") == {"sandbox", "job.1"}
    assert rules.covers({"job"}, "job.1")
    assert rules.covers({"job"}, "job")
    assert not rules.covers({"job"}, "jobs.1")
    assert rules.covers((), "anything")
    for text in ("a b", "*", "a..b", ",".join(f"t{number}" for number in range(51)), "x" * 200):
        with pytest.raises(Invalid):
            rules.parse(text)
    with pytest.raises(Forbidden):
        rules.check(principal("jobs:read"), {"sandbox"})
    rules.check(principal("jobs:read"), {"job", "registry"})


@given(st.lists(st.integers(1, 60), unique=True, min_size=1))
def test_nobody_resumes_behind_what_may_still_come(numbers: list[int]) -> None:
    """Whatever the order in which transactions end: up to ``safe``, everything that ever came was seen."""
    position = Position(0, [], 0.0, patience=100.0)
    seen: set[int] = set()
    for number in numbers:
        position.saw(number, 0.0)
        seen.add(number)
        safe = position.settle(1.0)
        assert set(range(1, safe + 1)) <= seen
        assert position.high == max(seen)
    assert position.settle(200.0) == max(numbers)


def test_a_gap_is_not_asked_for_for_ever() -> None:
    position = Position(10, [8], 0.0, patience=5.0)
    position.saw(5_000, 1.0)

    assert len(position.gaps) <= 1001
    assert position.settle(1.0) == 7
    assert position.settle(5.5) < 5_000
    assert position.settle(7.0) == 5_000


def test_a_client_that_does_not_read_is_let_go() -> None:
    hub = Hub(Bounds(queue=3), dict)
    who = principal("jobs:read")
    slow, other = (hub.join(who, frozenset(), lambda: who) for _ in range(2))

    hub.publish([event(number) for number in range(1, 4)], 3)
    other.queue.clear()
    hub.publish([event(4)], 4)

    assert (slow.ended, len(slow.queue)) == ("slow", 0)
    assert other.ended is None
    assert [frame.number for frame in other.queue] == [4]
    hub.leave(slow)
    assert hub.dropped == {"slow": 1}


def test_an_event_is_rendered_once_for_all() -> None:
    hub = Hub(Bounds(), dict)
    who = principal("jobs:read")
    listeners = [hub.join(who, frozenset(), lambda: who) for _ in range(5)]

    hub.publish([event(7)], 5)

    [frame] = {id(one.queue[0]): one.queue[0] for one in listeners}.values()
    assert (frame.number, frame.resume) == (7, 5)
    assert render(frame).startswith(b"id: 5\ndata: {")


def test_there_is_an_end_to_how_many_listen() -> None:
    hub = Hub(Bounds(per_principal=2, total=3), dict)
    a, b = principal("jobs:read"), principal("jobs:read", owner="b")

    def join(who: Principal) -> Listener:
        return hub.join(who, frozenset(), lambda: who)

    first = join(a)
    join(a)
    with pytest.raises(TooManyStreams):
        join(a)
    join(b)
    with pytest.raises(TooManyStreams):
        join(b)
    hub.leave(first)
    join(b)
    hub.close()
    with pytest.raises(Unavailable):
        join(a)


def test_rights_that_were_taken_away_end_a_stream() -> None:
    hub = Hub(Bounds(), dict)
    now: list[Principal | None] = [principal("events:read", "jobs:read")]
    assert now[0] is not None
    listener = hub.join(now[0], frozenset({"job"}), lambda: now[0])

    hub.recheck()
    assert listener.ended is None
    now[0] = principal("events:read", "alerts:read")
    hub.recheck()
    assert listener.ended == "unauthenticated"


def test_who_has_not_subscribed_yet_stays() -> None:
    hub = Hub(Bounds(), dict)
    who = principal("events:read", "jobs:read")
    listener = hub.join(who, NOTHING, lambda: who)

    hub.publish([event(1)], 1)
    hub.recheck()

    assert (listener.ended, len(listener.queue)) == (None, 0)


def test_what_is_sent() -> None:
    assert render(Frame("hello", 3)) == b": hello\nretry: 2000\nid: 3\n\n"
    assert render(Frame("ping", 4)) == b": ping\nid: 4\n\n"
    assert render(Frame("reset", 4, b'{"a":1}')) == b'event: reset\nid: 4\ndata: {"a":1}\n\n'
    assert render(Frame("event", None, b"{}")) == b"data: {}\n\n"


@pytest.mark.parametrize(
    ("text", "expected"), [(None, None), ("", None), ("12", 12), (" 7 ", 7), ("x", -1), ("-1", -1), ("9" * 30, -1)]
)
def test_last_event_id(text: str | None, expected: int | None) -> None:
    assert rules.position(text) == expected


async def test_a_key_whose_time_has_come_ends_a_busy_stream_too() -> None:
    now: list[Principal | None] = [principal("events:read", "jobs:read")]
    assert now[0] is not None
    hub = Hub(Bounds(heartbeat=0.0), dict)
    listener = hub.join(now[0], frozenset(), lambda: now[0])
    hub.publish([event(number) for number in range(1, 4)], 3)
    frames = follow(hub, cast("Any", None), listener, None)
    assert [(await anext(frames)).kind for _ in range(2)] == ["hello", "event"]

    now[0] = None

    assert [frame.kind async for frame in frames] == ["closed"]


async def test_who_does_not_even_read_that_it_was_let_go_is_not_waited_for() -> None:
    """A connection whose other side reads nothing blocks in ``send``: its task ends all the same."""
    hub = Hub(Bounds(heartbeat=60.0), dict)
    who = principal("jobs:read")
    listener = hub.join(who, frozenset(), lambda: who)
    blocked = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            blocked.set()
            await asyncio.Event().wait()

    async def receive() -> Any:
        await asyncio.Event().wait()

    frames = follow(hub, cast("Any", None), listener, None)
    stream = EventStream(frames, listener, lambda: hub.leave(listener), patience=0.01)
    answering = asyncio.create_task(stream({"type": "http"}, receive, send))
    await asyncio.wait_for(blocked.wait(), 20)

    listener.end("slow")

    await asyncio.wait_for(answering, 20)
    assert not hub.listeners
