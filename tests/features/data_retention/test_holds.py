"""What a legal hold names stays, whatever purges."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.features.data_retention.conftest import NOW, Scene

from valhalla.features.data.retention import Hold, Policy, rules, store
from valhalla.kernel.principal import SYSTEM
from valhalla.kernel.problems import Invalid
from valhalla.kit import holds as legal
from valhalla.kit.relations import Condition
from valhalla.work import store as jobs


async def test_days_are_dropped_whole_unless_a_hold_names_a_row(scene: Scene) -> None:
    await scene.lines(20, 16, 15, 14, 1)
    await scene.policy("logs", days=14)
    await scene.hold("case", "logs", Condition("principal", "eq", "p16"), since=NOW - timedelta(days=17))

    done = await scene.purge("logs")

    assert await scene.line_days() == {"p1": 3, "p14": 3, "p16": 3}
    assert done.days == ("2026-02-28", "2026-03-05")
    assert (done.rows, done.held) == (6, 3)
    await scene.db.run(scene.feature.holds.delete, "case", actor="test")
    assert (await scene.purge("logs")).days == ("2026-03-04",)


async def test_whoever_places_a_hold_waits_for_a_batch_and_is_then_obeyed(scene: Scene) -> None:
    await scene.sent(*((f"{number}", 30, {}) for number in range(40)))
    asked = await scene.service.request(SYSTEM, "events", reason="x")
    assert asked.purge is not None
    placed = asyncio.Event()

    async def place() -> list[str]:
        await scene.hold("case", "events", Condition("subject", "prefix", "1"))
        placed.set()
        return [one for one in await scene.left() if one.startswith("1")]

    holding = asyncio.create_task(place())
    await scene.feature.purger.execute(asked.purge.id)
    there = await holding
    # whatever was there when the hold was answered is there for ever
    assert [one for one in await scene.left() if one.startswith("1")] == there


async def test_a_hold_that_is_placed_between_two_batches_is_obeyed(scene: Scene, retention_url: str) -> None:
    await scene.sent(*((f"{number}", 30 + number, {}) for number in range(4)))
    asked = await scene.service.request(SYSTEM, "events", reason="x")
    assert asked.purge is not None
    with psycopg.connect(retention_url) as other:
        # the purge comes back for this one
        other.execute("SELECT FROM valhalla.events WHERE uid = 'u2' FOR UPDATE")
        purging = asyncio.create_task(scene.feature.purger.execute(asked.purge.id))
        async with asyncio.timeout(20):
            while await scene.left() != ["2"]:
                await asyncio.sleep(0.02)
        # by then it has looked in vain, and waits to look again
        await asyncio.sleep(0.1)
        await scene.hold("case", "events", Condition("subject", "eq", "2"))
    await purging
    assert await scene.left() == ["2"]


SUBJECTS = st.sampled_from(["shop.1", "shop.2", "user.1", "user.2"])


ROWS = st.tuples(
    SUBJECTS,
    st.none() | st.floats(0, 20).map(lambda days: round(days, 2)),
    st.fixed_dictionaries({}, optional={"customer": st.sampled_from(["x", "y", "it's"])}),
)


CONDITIONS = st.one_of(
    st.builds(Condition, st.just("subject"), st.sampled_from(["eq", "ne", "prefix"]), SUBJECTS | st.just("shop")),
    st.builds(Condition, st.just("subject"), st.just("in"), st.lists(SUBJECTS, min_size=1, max_size=2)),
    st.builds(Condition, st.just("data.customer"), st.sampled_from(["eq", "ne"]), st.sampled_from(["x", "it's"])),
    st.builds(Condition, st.just("correlation_id"), st.sampled_from(["eq", "lt"]), st.just("never")),
)


SINCE = st.none() | st.floats(5, 20).map(lambda days: NOW - timedelta(days=round(days, 1)))


HOLDS = st.one_of(
    st.builds(Hold, st.just("events"), st.just("case"), st.lists(CONDITIONS, min_size=1, max_size=2).map(tuple), SINCE),
    st.builds(Hold, st.sampled_from(["*", "events", "logs"]), st.just("case"), st.just(()), SINCE),
)


def fulfils(row: tuple[str, float | None, dict[str, Any]], condition: Condition) -> bool:
    subject, _, data = row
    found = {"subject": subject, "data.customer": data.get("customer")}.get(condition.column)
    match condition.op:
        case "ne":
            return found != condition.value
        case _ if found is None:
            return False
        case "eq":
            return found == condition.value
        case "prefix":
            return found.startswith(str(condition.value))
        case "in":
            assert isinstance(condition.value, list)
            return found in condition.value
    return False


def is_held(row: tuple[str, float | None, dict[str, Any]], hold: Hold) -> bool:
    if hold.category not in ("events", "*") or not all(fulfils(row, one) for one in hold.conditions):
        return False
    return hold.since is None or (row[1] is not None and NOW - timedelta(days=row[1]) >= hold.since)


async def _holds_are_kept(scene: Scene, rows: list[Any], holds: list[Hold], days: int) -> None:
    await scene.reset()
    await scene.sent(*((f"{row[0]}", row[1], row[2]) for row in rows))
    await scene.policy("events", days=days)
    for number, hold in enumerate(holds):
        await scene.db.run(scene.feature.holds.put, f"hold-{number}", hold, actor="test")

    done = await scene.purge("events")

    def stays(row: Any) -> bool:
        return row[1] is None or row[1] <= days or any(is_held(row, hold) for hold in holds)

    assert await scene.left() == [row[0] for row in rows if stays(row)]
    assert done.rows == sum(not stays(row) for row in rows)
    assert done.held == sum(stays(row) and row[1] is not None and row[1] > days for row in rows)


@given(st.lists(ROWS, max_size=12), st.lists(HOLDS, max_size=3), st.integers(0, 15))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_is_held_is_never_purged(scene: Scene, rows: list[Any], holds: list[Hold], days: int) -> None:
    await _holds_are_kept(scene, rows, holds, days)


@pytest.mark.slow
@given(st.lists(ROWS, max_size=30), st.lists(HOLDS, max_size=4), st.integers(0, 15))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_is_held_is_never_purged_in_many_cases(
    scene: Scene, rows: list[Any], holds: list[Hold], days: int
) -> None:
    await _holds_are_kept(scene, rows, holds, days)


def test_a_hold_that_the_table_does_not_understand_stops_the_purge(scene: Scene) -> None:
    category = scene.feature.categories.get("events")
    with pytest.raises(Invalid):
        rules.held_sql(category, [Hold("events", "case", (Condition("a column of an older release", "eq", 1),))])
    assert rules.held_sql(category, [Hold("logs", "case"), Hold("jobs", "case")]) == "false"
    assert Policy("events").max_share == 0.5


async def test_who_tidies_by_itself_stops_where_a_hold_or_a_policy_says_more(scene: Scene) -> None:
    text = (
        "INSERT INTO valhalla.jobs (id, name, queue, lane, status, args, priority, run_at, finished_at)"
        " VALUES ('00000000000000000000000001', 'x', 'x', 'x', 'succeeded', '{}', 0, now(), now() - interval '9 days')"
    )
    await scene.db.run(lambda conn: conn.exec_driver_sql(text))
    await scene.hold("case", "*", since=NOW - timedelta(days=400))
    assert await scene.db.run(jobs.prune, timedelta(days=7)) == 0
    await scene.db.run(scene.feature.holds.delete, "case", actor="test")
    await scene.policy("jobs", days=365)
    assert await scene.db.run(jobs.prune, timedelta(days=7)) == 0
    await scene.db.run(scene.feature.policies.delete, "jobs", actor="test")
    assert await scene.db.run(jobs.prune, timedelta(days=7)) == 1


async def test_a_batch_happens_only_as_long_as_its_purge_runs_and_nothing_else_is_held(scene: Scene) -> None:
    await scene.sent(("one", 30, {}))
    asked = await scene.service.request(SYSTEM, "events", reason="x")
    assert asked.purge is not None
    id_, category = asked.purge.id, scene.feature.categories.get("events")
    held = await scene.db.run(store.held, scene.feature.holds, category)

    async def take(revision: int) -> store.Batch | None:
        where = store.table_of(category), asked.purge.cutoff if asked.purge else NOW
        return await scene.db.run(store.take, id_, category, *where, replace(held, revision=revision), store.Step())

    assert await take(held.revision) is None, "it is pending"
    await scene.db.run(store.put, id_, status="running")
    assert await take(held.revision - 1) is None
    assert await scene.left() == ["one"]
    batch = await take(held.revision)
    assert batch is not None
    assert (batch.rows, batch.total, await scene.left()) == (1, 1, [])
    done = await scene.service.get(SYSTEM, id_)
    assert (done.rows, done.batches) == (1, 1)


async def test_a_batch_waits_for_who_changes_the_holds_and_then_does_nothing(scene: Scene, retention_url: str) -> None:
    await scene.sent(("one", 30, {}))
    asked = await scene.service.request(SYSTEM, "events", reason="x")
    assert asked.purge is not None
    category = scene.feature.categories.get("events")
    held = await scene.db.run(store.held, scene.feature.holds, category)
    await scene.db.run(store.put, asked.purge.id, status="running")
    with psycopg.connect(retention_url) as other:
        other.execute("UPDATE valhalla.registry_heads SET revision = revision + 1 WHERE name = %s", (legal.REGISTRY,))
        where = category, store.table_of(category), asked.purge.cutoff
        taking = asyncio.create_task(scene.db.run(store.take, asked.purge.id, *where, held, store.Step()))
        await asyncio.sleep(0.3)
        assert not taking.done()
    assert await taking is None
    assert await scene.left() == ["one"]


async def test_a_purge_waits_for_who_is_placing_a_hold(scene: Scene, retention_url: str) -> None:
    await scene.sent(("one", 30, {}), ("two", 30, {}))
    asked = await scene.service.request(SYSTEM, "events", reason="x")
    assert asked.purge is not None
    with psycopg.connect(retention_url) as other:
        other.execute("INSERT INTO valhalla.registry_heads VALUES (%s, 1) ON CONFLICT DO NOTHING", (legal.REGISTRY,))
        other.execute("UPDATE valhalla.registry_heads SET revision = revision + 1 WHERE name = %s", (legal.REGISTRY,))
        purging = asyncio.create_task(scene.feature.purger.execute(asked.purge.id))
        await asyncio.sleep(0.3)
        assert await scene.left() == ["one", "two"]
    assert await purging == "succeeded"
    assert await scene.left() == []
