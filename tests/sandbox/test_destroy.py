"""Destroying: access ends with the answer, everything goes, and it can be repeated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from tests.sandbox.conftest import Left
from tests.sandbox.plane import Team, open_bus, open_cache, opened, work_in

from valhalla.runtime import Runtime
from valhalla.sandbox.errors import NotRunning


async def ends(work: Awaitable[Any]) -> float:
    """Wait until a pending call on a live connection fails; return when that was."""
    try:
        await work
    except Exception:  # noqa: BLE001 - whatever the client calls a connection that was closed
        return time.monotonic()
    raise AssertionError("the connection went on living")


async def test_live_connections_end_with_the_answer(
    team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Busy and idle ones, in all three backends, within 100 ms of the answer; the drop has no part in it."""
    created = await team.create()
    assert created.connection is not None
    drop_now = asyncio.Event()
    finish = runtime.sandboxes.teardown.finish

    async def later(*args: Any, **said: Any) -> bool:
        await drop_now.wait()
        return await finish(*args, **said)

    monkeypatch.setattr(runtime.sandboxes.teardown, "finish", later)
    async with opened(created.connection) as busy, opened(created.connection) as idle:
        await idle.sql.execute("CREATE TABLE t (id int)")
        await idle.sql.execute("BEGIN; LOCK TABLE t")
        pubsub = idle.cache.pubsub()
        prefix = created.connection["valkey"]["prefix"]
        waiting = [
            asyncio.create_task(ends(busy.sql.fetch("SELECT pg_sleep(30)"))),
            asyncio.create_task(ends(busy.cache.blpop([prefix + "queue"], timeout=30))),
        ]
        await asyncio.sleep(0.05)
        before = time.monotonic()
        await team.destroy(created.sandbox.id, wait=0)
        answered = time.monotonic()
        times = await asyncio.wait_for(asyncio.gather(*waiting), 5)
        await asyncio.wait_for(busy.closed.wait(), 5)
        await asyncio.wait_for(idle.closed.wait(), 5)
        times.append(time.monotonic())
        assert max(times) - answered < 0.1
        assert answered - before < 1
        for call in (lambda: idle.sql.fetchval("SELECT 1"), lambda: idle.cache.get(prefix + "x")):
            await ends(call())
        await pubsub.aclose()
    assert (await team.get(created.sandbox.id)).status == "destroying"
    drop_now.set()
    assert (await team.destroy(created.sandbox.id, wait=5)).status == "destroyed"


async def test_credentials_are_refused_afterwards(team: Team) -> None:
    """The old ones at once, while the drop may still be under way, and for ever."""
    created = await team.create()
    assert created.connection is not None
    connection = created.connection
    await work_in(connection)

    async def sql() -> None:
        await (await asyncpg.connect(connection["postgres"]["url"], timeout=5)).close()

    doors: list[Callable[[], Awaitable[Any]]] = [sql, lambda: open_cache(connection), lambda: open_bus(connection)]
    for wait in (0, 10):
        ended = await team.destroy(created.sandbox.id, wait=wait)
        for door in doors:
            with pytest.raises(Exception, match=r"(?i)auth|not permitted|does not exist|invalid|no servers"):
                await door()
        with pytest.raises(NotRunning):
            await team.connection(created.sandbox.id)
    assert ended.status == "destroyed"


async def test_nothing_is_left(team: Team, left: Left) -> None:
    """Tables, keys, streams: with what they hold."""
    created = await team.create(template="community")
    assert created.connection is not None
    await work_in(created.connection)
    full = set(await left(created.sandbox.id))
    assert {"postgres schema", "postgres role", "valkey user", "valkey key", "nats account"} <= full
    assert any(item.startswith("nats path") for item in full)
    ended = await team.destroy(created.sandbox.id)
    assert ended.status == "destroyed"
    assert ended.destroyed_at is not None
    assert ended.last_error is None
    assert await left(created.sandbox.id) == []


async def test_it_can_be_repeated(team: Team) -> None:
    sandbox = await team.new()
    first = await team.destroy(sandbox.id)
    second = await team.destroy(sandbox.id)
    third = await team.destroy(sandbox.name)
    assert first.status == second.status == third.status == "destroyed"
    assert second == third
    assert await team.actions(sandbox.id) == ["created", "status_changed", "destroying", "destroyed"]


async def test_a_caller_that_hangs_up_does_not_stop_it(
    team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, left: Left
) -> None:
    """A request that is cancelled in the middle of the cut is carried out all the same."""
    created = await team.create()
    at_work = asyncio.Event()
    cut = runtime.backends.postgres.cut

    async def slow(names: Any) -> None:
        at_work.set()
        await asyncio.sleep(0.1)
        await cut(names)

    monkeypatch.setattr(runtime.backends.postgres, "cut", slow)
    asking = asyncio.create_task(team.destroy(created.sandbox.id))
    await at_work.wait()
    asking.cancel()
    again = await team.destroy(created.sandbox.id, wait=5)
    assert again.status == "destroyed"
    assert await left(created.sandbox.id) == []


async def test_a_caller_that_hangs_up_while_creating_gets_a_whole_one(team: Team, runtime: Runtime) -> None:
    """The creation ends on its own terms: running and usable, or nothing."""
    asking = asyncio.create_task(team.create(key="k1"))
    while not await team.all():
        await asyncio.sleep(0.001)
    asking.cancel()
    for _ in range(200):
        (row,) = await team.all()
        if row.status == "running":
            break
        await asyncio.sleep(0.01)
    assert row.status == "running"
    again = await team.create(key="k1")
    assert again.replayed
    assert again.connection is not None
    await work_in(again.connection)


async def test_other_sandboxes_notice_nothing(team: Team) -> None:
    """Live connections of a sibling of the same owner survive, with their data."""
    kept, gone = await team.create(), await team.create()
    assert kept.connection is not None
    await work_in(kept.connection)
    async with opened(kept.connection) as session:
        await team.destroy(gone.sandbox.id)
        assert await session.sql.fetchval("SELECT id FROM orders") == 42
        assert await session.cache.get(kept.connection["valkey"]["prefix"] + "order") == b"42"
        assert not session.closed.is_set()
        assert (await session.bus.jetstream(timeout=5).stream_info("orders")).state.messages == 1
