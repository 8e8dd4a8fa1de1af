"""The change feed: snapshots follow every commit, and nothing is lost when connections are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tests.servers import Postgres, start_postgres

from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit.changes import Feed, Snapshot
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.migrate import upgrade_blocking
from valhalla.kit.registry import Registry


class Flag(msgspec.Struct, frozen=True):
    on: bool
    number: int = 0


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Wait for something that happens soon; return how long it took, in seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen"
        await asyncio.sleep(0.002)
    return time.monotonic() - began


@pytest.fixture
def flags(ledger: Ledger, request: pytest.FixtureRequest) -> Registry[Flag]:
    return Registry(request.node.name, Flag, ledger)


@pytest.fixture
async def feed(db: Database, flags: Registry[Flag]) -> AsyncIterator[Feed]:
    feed = Feed(db, [flags], poll=0.5)
    yield feed
    await feed.stop()


async def test_it_starts_with_everything_and_follows(db: Database, flags: Registry[Flag], feed: Feed) -> None:
    """Put, replace and delete reach snapshot, view and listener."""
    await db.run(flags.put, "old", Flag(True), actor="x")
    view = feed.view(flags.name, lambda snapshot: sorted(snapshot.records))
    heard: list[int] = []
    await feed.start()
    assert (view.value, feed.snapshot(flags.name).revision, feed.stale_for) == (["old"], 1, None)
    unsubscribe = feed.subscribe(flags.name, lambda snapshot: heard.append(snapshot.revision))
    await db.run(flags.put, "new", Flag(False, 1), actor="x")
    await until(lambda: view.value == ["new", "old"])
    record = feed.snapshot(flags.name).records["new"]
    assert record == await db.read(flags.get, "new")
    await db.run(flags.put, "old", Flag(True, 7), actor="x")
    await db.run(flags.delete, "new", actor="x")
    await until(lambda: view.value == ["old"])
    assert feed.snapshot(flags.name).records["old"] == await db.read(flags.get, "old")
    assert heard[-1] == 4
    unsubscribe()
    await db.run(flags.delete, "old", actor="x")
    await until(lambda: view.value == [])
    assert heard[-1] == 4


async def test_a_snapshot_never_changes(db: Database, flags: Registry[Flag], feed: Feed) -> None:
    """Whoever took one keeps reading the same revision."""
    await feed.start()
    before: Snapshot[Flag] = feed.snapshot(flags.name)
    await db.run(flags.put, "a", Flag(True), actor="x")
    await until(lambda: feed.snapshot(flags.name).revision == 1)
    assert dict(before.records) == {}
    with pytest.raises(TypeError):
        before.records["a"] = None  # pyright: ignore
    with pytest.raises(AttributeError):
        before.revision = 2


async def test_failing_listeners_and_views_do_not_stop_it(db: Database, flags: Registry[Flag], feed: Feed) -> None:
    """The failure is logged and shown; the value of before stays."""

    def build(snapshot: Snapshot[Any]) -> int:
        if snapshot.revision == 1:
            raise RuntimeError("cannot")
        return snapshot.revision

    def fail(_: Snapshot[Any]) -> None:
        raise RuntimeError("listener")

    view = feed.view(flags.name, build)
    feed.subscribe(flags.name, fail)
    await feed.start()
    await db.run(flags.put, "a", Flag(True), actor="x")
    await until(lambda: feed.snapshot(flags.name).revision == 1)
    assert (view.value, view.failed, feed.status()["ok"]) == (0, True, False)
    await db.run(flags.put, "b", Flag(True), actor="x")
    await until(lambda: view.value == 2)
    assert feed.status()["ok"]


async def test_a_change_is_visible_before_anybody_polls(db: Database, flags: Registry[Flag], feed: Feed) -> None:
    """From commit to snapshot; milliseconds, but the machine may be busy."""
    await feed.start()
    times: list[float] = []
    for n in range(40):
        await db.run(flags.put, "a", Flag(True, n), actor="x")
        times.append(await until(lambda n=n: feed.snapshot(flags.name).revision == n + 1))
    times.sort()
    assert times[len(times) // 2] < 0.25, times


async def test_a_terminated_listener_loses_nothing(db: Database, flags: Registry[Flag], feed: Feed) -> None:
    """The listening session is killed again and again while changes are made."""
    await feed.start()
    kill = sa.text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query ~ '^(LISTEN|SELECT 1)' AND pid <> pg_backend_pid()"
    )
    killed = 0
    for n in range(100):
        await db.run(flags.put, f"k{n % 10}", Flag(True, n), actor="x")
        if n % 20 == 5:
            await until(lambda: feed.stale_for is None)
            before = feed.status()["reconnects"]
            killed += await db.run(lambda c: c.scalar(kill))
            # the time in which it is stale may be over before anybody looks
            await until(lambda before=before: feed.status()["reconnects"] > before)
    await until(lambda: feed.snapshot(flags.name).revision == 100 and feed.stale_for is None)
    assert killed >= 1
    assert {k: r.value.number for k, r in feed.snapshot(flags.name).records.items()} == {
        f"k{n}": 90 + n for n in range(10)
    }


async def test_pruned_history_is_replaced_by_a_full_load(db: Database, flags: Registry[Flag], feed: Feed) -> None:
    """A process that slept past the kept history reads everything."""
    await feed.start()

    def work(conn: sa.Connection) -> None:
        for n in range(5):
            flags.put(conn, f"k{n}", Flag(True), actor="x")
        conn.execute(sa.text("DELETE FROM valhalla.registry_changes WHERE registry = :r"), {"r": flags.name})

    await db.run(work)
    await until(lambda: feed.snapshot(flags.name).revision == 5)
    assert len(feed.snapshot(flags.name).records) == 5


async def test_a_record_of_a_newer_release_keeps_the_old_snapshot(
    db: Database, flags: Registry[Flag], feed: Feed, ledger: Ledger
) -> None:
    """It is named in the status; a process that starts then refuses."""

    class Newer(msgspec.Struct, frozen=True):
        on: str

    await db.run(flags.put, "a", Flag(True), actor="x")
    await feed.start()
    await db.run(Registry(flags.name, Newer, ledger).put, "a", Newer("perhaps"), actor="x")
    await until(lambda: not feed.status()["ok"])
    assert feed.snapshot(flags.name).records["a"].value == Flag(True)
    assert "'a' does not fit" in feed.status()["faults"][flags.name]
    with pytest.raises(Misconfigured):
        await Feed(db, [flags]).start()
    await db.run(flags.put, "a", Flag(False), actor="x")
    await until(lambda: feed.status()["ok"])


async def test_starting_without_a_database_is_unavailable(flags: Registry[Flag]) -> None:
    """No empty snapshot pretends to be the truth."""
    db = Database("postgresql://postgres@127.0.0.1:1/none")
    feed = Feed(db, [flags])
    with pytest.raises(Unavailable):
        await feed.start()
    await feed.stop()
    await db.close()


@pytest.fixture(scope="module")
def own_server() -> Any:
    server: Postgres = start_postgres()
    yield server
    server.stop()


async def test_a_restarted_server_loses_nothing(own_server: Postgres, ledger: Ledger) -> None:
    """Two hundred changes around a full restart; the snapshot stays readable all the time."""
    upgrade_blocking(own_server.url)
    db = Database(own_server.url)
    flags: Registry[Flag] = Registry("flags", Flag, ledger)
    feed = Feed(db, [flags], poll=0.5)
    await feed.start()

    async def write() -> int:
        done = 0
        while done < 200:
            try:
                await db.run(flags.put, f"k{done % 10}", Flag(True, done), actor="x")
                done = max(done + 1, feed.snapshot(flags.name).revision)
            except Unavailable:
                await asyncio.sleep(0.02)
        return done

    task = asyncio.create_task(write())
    await until(lambda: feed.snapshot(flags.name).revision >= 50)
    await asyncio.to_thread(own_server.stop)
    await until(lambda: feed.stale_for is not None)
    assert len(feed.snapshot(flags.name).records) == 10
    await asyncio.sleep(0.2)
    assert (feed.stale_for or 0) >= 0.1
    await asyncio.to_thread(own_server.start)
    await task
    head = await db.read(flags.revision)
    await until(lambda: feed.snapshot(flags.name).revision == head and feed.stale_for is None)
    stored = {r.key: r for r in (await db.read(flags.page)).items}
    assert dict(feed.snapshot(flags.name).records) == stored
    assert feed.status()["reconnects"] >= 1
    await feed.stop()
    await db.close()


@pytest.mark.slow
async def test_a_half_open_connection_is_noticed(db: Database, flags: Registry[Flag], database_url: str) -> None:
    """A connection whose other side went silent gives no error; the sign of life is missing."""
    host, port = database_url.split("@")[1].split("/", maxsplit=1)[0].split(":")
    silent = asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not silent.is_set():
                writer.write(data)

    tasks: list[asyncio.Task[None]] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        tasks.append(asyncio.create_task(pump(reader, back)))
        tasks.append(asyncio.create_task(pump(there, writer)))

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    via = server.sockets[0].getsockname()[1]
    through = Database(database_url.replace(f":{port}/", f":{via}/"))
    feed = Feed(through, [flags], poll=0.1)
    await feed.start()
    silent.set()
    await until(lambda: feed.stale_for is not None)
    await db.run(flags.put, "a", Flag(True), actor="x")
    silent.clear()
    await until(lambda: feed.stale_for is None and feed.snapshot(flags.name).revision == 1, 20)
    await feed.stop()
    await through.close()
    for task in tasks:
        task.cancel()
    server.close()
