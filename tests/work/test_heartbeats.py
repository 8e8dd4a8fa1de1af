"""Heartbeats: silence is noticed once, named, and over when the source says so."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.work.conftest import until

from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Invalid
from valhalla.kit.db import Database
from valhalla.work import Jobs
from valhalla.work.background import Background
from valhalla.work.errors import NoSuchHeartbeat
from valhalla.work.heartbeats import Heart, Times, beat, every, expect, fail, forget, miss, read, start
from valhalla.work.loops import loop, place_of


async def events(db: Database) -> list[tuple[str, str]]:
    rows = await db.run(lambda conn: conn.execute(sa.text("SELECT type, data FROM valhalla.events ORDER BY id")).all())
    return [(row.type, row.data["name"]) for row in rows]


async def age(db: Database, seconds: float) -> None:
    """Let all sources have been silent for so long."""
    statement = sa.text(
        "UPDATE valhalla.heartbeats SET last_beat_at = last_beat_at - make_interval(secs => :s),"
        " expected_since = expected_since - make_interval(secs => :s)"
    )
    await db.run(lambda conn: conn.execute(statement, {"s": seconds}))


async def status(db: Database) -> dict[str, str]:
    return {one.name: one.status for one in await db.run(every)}


async def test_silence_is_one_event_however_many_look_and_so_is_the_recovery(db: Database) -> None:
    """Waiting is not alive; alive becomes missed after its own timeout; a beat recovers it."""
    await db.run(expect, "backup.nightly", interval=60, timeout=300)
    await db.run(expect, "slow", interval=3600, timeout=7200)
    assert await status(db) == {"backup.nightly": "waiting", "slow": "waiting"}
    for name in ("backup.nightly", "slow"):
        await db.run(beat, name)
    await age(db, 301)
    with ThreadPoolExecutor(8) as pool:
        found = await asyncio.to_thread(lambda: list(pool.map(lambda _: db.run_blocking(miss), range(8))))
    assert [name for names in found for name in names] == ["backup.nightly"]
    assert await status(db) == {"backup.nightly": "missed", "slow": "alive"}
    for _ in range(3):
        await db.run(beat, "backup.nightly")
    assert await status(db) == {"backup.nightly": "alive", "slow": "alive"}
    assert await events(db) == [("heartbeat.missed", "backup.nightly"), ("heartbeat.recovered", "backup.nightly")]


async def test_what_never_started_is_missed_too(db: Database) -> None:
    """Its time runs from when it was expected."""
    await db.run(expect, "never", interval=1, timeout=10)
    assert await db.run(miss) == []
    await age(db, 11)
    assert await db.run(miss) == ["never"]


async def test_names_and_times_are_checked(db: Database) -> None:
    """Nobody's beat, and promises that cannot be kept."""
    for name, interval, timeout in (
        ("A b", 1, 2),
        ("x" * 64, 1, 2),
        ("ok", 2, 2),
        ("ok", 0, 1),
        ("ok", 1, float("inf")),
    ):
        with pytest.raises(Invalid):
            await db.run(expect, name, interval=interval, timeout=timeout)
    with pytest.raises(NoSuchHeartbeat):
        await db.run(beat, "nobody")
    with pytest.raises(NoSuchHeartbeat):
        await db.run(forget, "nobody")


class Moved(Clock):
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at


async def test_a_heart_carries_the_beats_of_its_process(db: Database) -> None:
    """It names who is silent, has them expected again when they were forgotten, and takes them along when it stops."""
    clock = Moved()
    heart = Heart(db, {"a": Times(1, 10), "b": Times(1, 10)}, clock=clock)
    heart.beat("a")
    clock.at = 4.0
    await heart.look()
    assert heart.unhealthy == {"b": "was never heard of"}
    (one, _) = await db.run(every)
    assert one.last_beat_at is not None
    assert 3.9 < (one.changed_at - one.last_beat_at).total_seconds() < 5
    heart.beat("b")
    await heart.look()
    assert heart.unhealthy == {}
    await age(db, 11)
    await heart.look()
    assert heart.unhealthy == {"a": "is silent", "b": "is silent"}
    await db.run(forget, "a")
    heart.beat("a")
    await heart.look()
    assert heart.unhealthy == {"b": "is silent"}
    stop = asyncio.Event()
    running = asyncio.create_task(heart.run(stop, every=0.01))
    heart.beat("b")
    await until(lambda: not heart.unhealthy)
    stop.set()
    await running
    assert await status(db) == {}


async def test_a_new_process_gives_old_sources_their_time(db: Database) -> None:
    """What was silent while nothing ran is not late at once."""
    await Heart(db, {"a": Times(1, 10)}).look()
    await db.run(beat, "a")
    await age(db, 1000)
    heart = Heart(db, {"a": Times(1, 10)})
    await heart.look()
    assert heart.unhealthy == {}
    await age(db, 11)
    await heart.look()
    assert heart.unhealthy == {"a": "is silent"}


def test_a_beat_touches_memory_only() -> None:
    """A hot loop may beat on every turn: there is no database here that could be asked."""
    heart = Heart(None, {})  # type: ignore[arg-type]
    for _ in range(1000):
        heart.beat("x")
    assert heart.unhealthy == {}


async def test_a_run_that_begins_must_end_and_a_failure_is_told(db: Database) -> None:
    """A beginning is no sign of life; what does not end within its grace is missed, with its reason."""
    await db.run(expect, "backup", interval=1000, timeout=2000, grace=60)
    await db.run(beat, "backup")
    await db.run(start, "backup")
    await db.run(
        lambda conn: conn.execute(sa.text("UPDATE valhalla.heartbeats SET started_at = now() - interval '61 s'"))
    )
    await db.run(start, "backup")
    assert await db.run(miss) == ["backup"]
    assert (await db.run(read, "backup")).reason == "did not end in time"
    await db.run(start, "backup")
    await db.run(beat, "backup")
    alive = await db.run(read, "backup")
    assert (alive.status, alive.reason, alive.started_at, alive.took is None) == ("alive", None, None, False)
    await db.run(fail, "backup", "no space for postgresql://me:hunter22@db/x")
    failed = await db.run(read, "backup")
    assert failed.status == "missed"
    assert failed.reason is not None
    assert "hunter22" not in failed.reason
    kinds = [kind for kind, _ in await events(db)]
    assert kinds == ["heartbeat.missed", "heartbeat.recovered", "heartbeat.missed"]
    with pytest.raises(NoSuchHeartbeat):
        await db.run(fail, "nobody", "")


async def test_two_control_planes_on_one_host_beat_for_themselves(db: Database, tmp_path: Path) -> None:
    """One of them dies: its parts are missed by name, the other's live."""
    beating: list[Background] = []
    for name in ("one", "two"):
        place = place_of(tmp_path / name)
        beating.append(
            Background(db, Jobs(), concurrency=1, clock=Clock(), place=place, loops=[loop("reaper", 15, "")])
        )
    one, two = beating
    for plane in beating:
        for part in ("worker", "ticker", "reaper"):
            plane.beat(part)
        await plane.heart.look()
    assert one.heart.unhealthy == two.heart.unhealthy == {}
    await age(db, 100)
    for part in ("worker", "ticker", "reaper"):
        two.beat(part)
    await two.heart.look()
    assert two.heart.unhealthy == dict.fromkeys(one.loops, "is silent")
    assert not one.loops.keys() & two.loops.keys()


async def test_a_host_that_is_gone_for_good_is_forgotten_and_so_is_what_a_person_forgets(db: Database) -> None:
    """After a week of silence, and only a control plane's own parts; who heard of the silence hears of that too."""
    names = ("sealer.dead-host.0a1b2c", "other.dead-host.0a1b2c", "sealer.dead-host.backup", "sealer")
    for name in names:
        await db.run(expect, name, interval=1, timeout=10)
    await age(db, 6 * 86_400)
    heart = Heart(db, {"sealer.here.ffffff": Times(interval=1, timeout=60)})
    await heart.look()
    assert set(await status(db)) == {*names, "sealer.here.ffffff"}
    await age(db, 86_400)
    await Heart(db, {"sealer.here.ffffff": Times(interval=1, timeout=60)}).look()
    assert set(await status(db)) == {*names[1:], "sealer.here.ffffff"}
    await db.run(forget, "sealer")
    assert [name for kind, name in await events(db) if kind == "heartbeat.forgotten"] == [names[0], "sealer"]
