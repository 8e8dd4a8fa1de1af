"""Events: written with their cause, delivered at least once, in order per subject, by one process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from valhalla.kit.db import Database
from valhalla.kit.log import correlated
from valhalla.kit.outbox import Dispatcher, Event, NatsSink, emit, emit_many
from valhalla.kit.outbox.store import backlog

KILL = sa.text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ 'LISTEN|advisory_lock|SELECT 1'"
)


class Basket:
    """A sink that keeps what it gets, and fails while told to."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failing = False
        self.calls = 0

    async def deliver(self, events: Sequence[Event]) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.failing:
            raise RuntimeError("sink is down")
        self.events.extend(events)


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


@pytest.fixture
async def fresh(new_migrated: Callable[[], str]) -> AsyncIterator[Database]:
    """A database without other tests' events."""
    database = Database(new_migrated())
    yield database
    await database.close()


class Running:
    """A dispatcher at work."""

    def __init__(self, db: Database, *sinks: Any, **options: Any) -> None:
        self.dispatcher = Dispatcher(db, sinks, **options)
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Dispatcher:
        self._task = asyncio.create_task(self.dispatcher.run(self._stop))
        return self.dispatcher

    async def __aexit__(self, *exc: object) -> None:
        self._stop.set()
        await asyncio.wait_for(self._task, 10)


async def test_an_event_arrives_soon_and_is_marked(fresh: Database) -> None:
    """With its data, time and correlation id; secrets stay behind."""
    basket = Basket()
    async with Running(fresh, basket, poll=30.0) as dispatcher:
        await until(lambda: dispatcher.status()["leading"])
        await asyncio.sleep(0.05)
        began = time.monotonic()
        with correlated("c-1"):
            await fresh.run(emit, subject="thing.1", type="thing.made", data={"n": 1, "password": "hunter2"})
        await until(lambda: bool(basket.events))
        assert time.monotonic() - began < 2
    event = basket.events[0]
    assert (event.subject, event.type, event.data, event.correlation_id, len(event.uid)) == (
        "thing.1", "thing.made", {"n": 1, "password": "***"}, "c-1", 16,
    )  # fmt: skip
    assert (await fresh.read(backlog))[0] == 0


async def test_a_rolled_back_cause_has_no_event(fresh: Database) -> None:
    """The row stands or falls with the transaction."""

    def work(conn: sa.Connection) -> None:
        emit(conn, subject="thing.1", type="t", data={})
        raise RuntimeError("undone")

    with pytest.raises(RuntimeError, match="undone"):
        await fresh.run(work)
    assert (await fresh.read(backlog))[0] == 0


@pytest.mark.parametrize("subject", ["", "a..b", "a b", "a.*", "a.>", ".a", "a.", "ä"])
async def test_subjects_have_a_form(fresh: Database, subject: str) -> None:
    """Nothing that a broker would take for a wildcard."""
    with pytest.raises(ValueError, match="subject"):
        await fresh.run(emit, subject=subject, type="t", data={})


async def test_order_per_subject_holds_under_concurrency(fresh: Database) -> None:
    """Overlapping transactions of uneven length: each subject arrives in the order of its ids, once."""
    basket = Basket()

    async def write(worker: int) -> None:
        for n in range(15):

            def work(conn: sa.Connection, n: int = n) -> None:
                emit(conn, subject=f"s.{(worker + n) % 3}", type="t", data={"worker": worker, "n": n})
                conn.execute(sa.text("SELECT pg_sleep(:s)"), {"s": (n % 3) / 200})

            await fresh.run(work)

    async with Running(fresh, basket, batch=7):
        await asyncio.gather(*(write(worker) for worker in range(8)))
        await until(lambda: len(basket.events) == 120)
    by_subject: dict[str, list[int]] = defaultdict(list)
    for event in basket.events:
        by_subject[event.subject].append(event.id)
    assert all(ids == sorted(ids) for ids in by_subject.values())
    assert len({event.uid for event in basket.events}) == 120


async def test_a_failing_sink_keeps_its_events_and_holds_up_nobody(fresh: Database) -> None:
    """The healthy one goes on; the failing one gets everything later, in order; then all is marked."""
    good, bad = Basket(), Basket()
    bad.failing = True
    async with Running(fresh, good, bad, poll=0.05) as dispatcher:
        for n in range(12):
            await fresh.run(emit, subject="s.1", type="t", data={"n": n})
        await until(lambda: len(good.events) == 12 and bad.calls > 1)
        assert (await fresh.read(backlog))[0] == 12
        status = {sink["error"] for sink in dispatcher.status()["sinks"]}
        assert status == {None, "RuntimeError: sink is down"}
        bad.failing = False
        await until(lambda: len(bad.events) == 12)
        await asyncio.sleep(0.2)
    assert [event.data["n"] for event in bad.events] == list(range(12))
    assert len(good.events) == 12
    assert (await fresh.read(backlog))[0] == 0


async def test_without_sinks_nothing_piles_up(fresh: Database) -> None:
    """All of no sinks have taken it."""
    await fresh.run(emit_many, [{"subject": f"s.{n}", "type": "t", "data": {}} for n in range(5)])
    async with Running(fresh, poll=0.05):
        for _ in range(200):
            if (await fresh.read(backlog))[0] == 0:
                break
            await asyncio.sleep(0.02)
    assert (await fresh.read(backlog))[0] == 0


async def test_one_of_two_dispatches_and_the_other_takes_over(fresh: Database) -> None:
    """While both live, only one delivers; when it stops, the other goes on."""
    first, second = Basket(), Basket()
    async with Running(fresh, second, poll=0.05) as standby:
        await until(lambda: standby.status()["leading"])
        async with Running(fresh, first, poll=0.05) as waiting:
            for n in range(5):
                await fresh.run(emit, subject="s.1", type="t", data={"n": n})
            await until(lambda: len(second.events) == 5)
            assert (first.calls, waiting.status()["leading"]) == (0, False)
            await fresh.run(lambda conn: conn.execute(KILL))
            await until(lambda: waiting.status()["leading"] or standby.status()["leading"])
            await fresh.run(emit, subject="s.1", type="t", data={"n": 5})
            # what was delivered but not marked when the sessions died is delivered again
            await until(lambda: len({event.uid for event in first.events + second.events}) == 6)


async def test_a_process_killed_between_send_and_mark_delivers_again(fresh: Database, tmp_path: Path) -> None:
    """SIGKILL in the middle of the third batch; a second process delivers the rest, and nothing is missing."""
    await fresh.run(emit_many, [{"subject": f"s.{n % 4}", "type": "t", "data": {"n": n}} for n in range(50)])
    out = tmp_path / "delivered"
    url = fresh.dsn

    async def child(die_at: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("outbox_child.py")), url, str(out), str(die_at)
        )

    first = await child(25)
    assert await asyncio.wait_for(first.wait(), 30) == -9
    second = await child(0)
    try:
        for _ in range(500):
            if (await fresh.read(backlog))[0] == 0:
                break
            await asyncio.sleep(0.02)
    finally:
        second.kill()
        await second.wait()
    lines = [line.split() for line in out.read_text().splitlines()]
    assert len({uid for _, uid, _ in lines}) == 50
    assert len(lines) > 50
    seen: set[str] = set()
    firsts: dict[str, list[int]] = defaultdict(list)
    for number, uid, subject in lines:
        if uid not in seen:
            seen.add(uid)
            firsts[subject].append(int(number))
    assert all(ids == sorted(ids) for ids in firsts.values())


async def test_it_survives_terminated_connections(fresh: Database) -> None:
    """Everything is delivered although the dispatcher's session is killed again and again."""
    basket = Basket()
    async with Running(fresh, basket, poll=0.05):
        for n in range(30):
            await fresh.run(emit, subject="s.1", type="t", data={"n": n})
            if n % 10 == 5:
                await fresh.run(lambda conn: conn.execute(KILL))
        await until(lambda: len({event.uid for event in basket.events}) == 30)
        await asyncio.sleep(0.2)
    assert (await fresh.read(backlog))[0] == 0


async def test_the_nats_sink_keeps_order_and_names_each_message() -> None:
    """One subject's events go one after the other, with the id that JetStream uses to drop repetitions."""
    from datetime import UTC, datetime

    sent: list[tuple[str, str]] = []

    class Context:
        async def publish(
            self, subject: str, payload: bytes = b"", timeout: float | None = None, *, headers: Any = None
        ) -> None:
            await asyncio.sleep(0.001 * (len(sent) % 3))
            sent.append((subject, headers["Nats-Msg-Id"]))
            assert b'"type":"t"' in payload

    async def connected() -> Context:
        return Context()

    events = [Event(n, f"u{n}", f"s.{n % 2}", "t", {}, None, datetime.now(UTC)) for n in range(10)]
    await NatsSink(connected).deliver(events)
    assert [uid for subject, uid in sent if subject == "vh.events.s.0"] == ["u0", "u2", "u4", "u6", "u8"]
    assert [uid for subject, uid in sent if subject == "vh.events.s.1"] == ["u1", "u3", "u5", "u7", "u9"]
