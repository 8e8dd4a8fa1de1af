"""What goes, what stays, and what is proven of it."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import timedelta

import psycopg
import pytest
from tests.features.data_retention.conftest import NOW, Scene

from valhalla.features.data.retention import rules
from valhalla.features.data.retention.errors import (
    AlreadyPurging,
    BadPolicy,
    NeedsConfirmation,
    NoPolicy,
    NotPurged,
    UnknownCategory,
)
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kernel.problems import Forbidden, Invalid
from valhalla.kit.relations import Condition

VIEWER = Principal("viewer", "team", frozenset({"retention:read"}))


async def test_old_rows_go_and_the_ledger_proves_which(scene: Scene) -> None:
    await scene.sent(("a", 8, {}), ("b", 6, {}), ("c", 30, {}), ("d", None, {}))
    look = await scene.service.preview(VIEWER, "events", days=None, keep_last=None)
    assert (look.rows, look.held, look.oldest) == (2, 0, NOW - timedelta(days=30))

    done = await scene.purge("events")

    assert await scene.left() == ["b", "d"]
    assert (done.status, done.rows, done.oldest, done.newest) == (
        "succeeded",
        2,
        NOW - timedelta(days=30),
        NOW - timedelta(days=8),
    )
    entries = (await scene.db.read(scene.ledger.page, kind="retention", subject=done.id)).items
    proof = next(entry for entry in entries if entry.action == "purged").details
    assert (proof["rows"], proof["category"], proof["digest"]) == (2, "events", done.digest)
    with pytest.raises(Forbidden):
        await scene.service.request(VIEWER, "events", reason="x")


async def test_the_digest_is_of_the_keys_that_went(scene: Scene) -> None:
    await scene.sent(*((str(number), 30, {}) for number in range(3)))
    ids = await scene.db.read(
        lambda conn: (
            conn.exec_driver_sql('SELECT id FROM valhalla.events ORDER BY id::text COLLATE "C"').scalars().all()
        )
    )

    done = await scene.purge("events")

    batch = hashlib.sha256("\n".join(map(str, ids)).encode()).hexdigest()
    assert done.digest == rules.chained(None, batch)


async def test_what_somebody_has_locked_is_left_and_keeps_nothing_else(scene: Scene, retention_url: str) -> None:
    await scene.sent(*((str(number), 30 + number, {}) for number in range(4)))
    with psycopg.connect(retention_url) as other:
        # neither the first nor the last that is looked at
        other.execute("SELECT FROM valhalla.events WHERE uid = 'u2' FOR UPDATE")
        done = await scene.purge("events")
        assert (done.status, done.rows, await scene.left()) == ("succeeded", 3, ["2"])
    assert (await scene.purge("events")).rows == 1


async def test_the_newest_stay_however_old(scene: Scene) -> None:
    await scene.policy("events", days=1, keep_last=2)
    await scene.sent(*((str(days), days, {}) for days in (5, 4, 3, 2)))

    assert (await scene.purge("events")).rows == 2
    assert await scene.left() == ["3", "2"]
    await scene.policy("events", keep_last=10)
    assert (await scene.purge("events")).rows == 0
    await scene.policy("events", days=0)
    assert (await scene.purge("events")).rows == 2


async def test_what_is_purged_was_exported_first(scene: Scene) -> None:
    await scene.policy("events", days=7, export_first=True)
    await scene.sent(("a", 8, {"n": 1}), ("b", 6, {}))

    done = await scene.purge("events")

    assert (done.status, done.rows) == ("succeeded", 1)
    assert done.export is not None
    export = await scene.exports.service.get(SYSTEM, done.export)
    file = scene.folder / "exports" / export.id / export.files[0].name
    assert [json.loads(line)["subject"] for line in gzip.decompress(file.read_bytes()).splitlines()] == ["a"]
    assert export.expires_at is None


async def test_nothing_goes_when_it_cannot_be_exported(scene: Scene) -> None:
    await scene.policy("events", days=7, export_first=True)
    await scene.sent(("a", 8, {}))
    (scene.folder / "exports").write_text("no folder")

    done = await scene.purge("events")

    assert done.status == "failed"
    assert await scene.left() == ["a"]


async def test_a_large_part_of_a_table_waits_for_people(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SMALL", 2)
    await scene.sent(*((str(number), 30, {}) for number in range(3)), ("new", 1, {}))

    with pytest.raises(NeedsConfirmation) as refused:
        await scene.service.request(SYSTEM, "events", reason="x")
    assert (refused.value.extra["rows"], refused.value.extra["total"]) == (3, 4)
    assert await scene.ticking.tick() == []
    assert await scene.ticking.tick() == []
    blocked = (await scene.service.page(SYSTEM, category="events", status="blocked", limit=None, cursor=None)).items
    assert [one.error["rows"] for one in blocked if one.error] == [3]
    asked = await scene.service.request(SYSTEM, "events", reason="x", confirm=True)
    assert (asked.purge, asked.hold) == (None, "a-hold")
    (name, arguments), *_ = scene.asked
    assert (name, arguments["rows"]) == ("retention.purge-large", 3)
    made = await scene.service.confirmed(SYSTEM, "events", NOW, 3, "x")
    # not further than the policy says, whatever they agreed to
    assert made.cutoff == NOW - timedelta(days=7)
    await scene.feature.purger.execute(made.id)
    assert await scene.left() == ["new"]


async def test_the_timetable_begins_what_is_due_and_nothing_twice(scene: Scene) -> None:
    await scene.sent(("a", 30, {}))
    assert await scene.ticking.tick() == ["events"]
    assert await scene.ticking.tick() == []
    with pytest.raises(AlreadyPurging):
        await scene.service.request(SYSTEM, "events", reason="x")
    await scene.reset()
    await scene.policy("events", days=1, enabled=False)
    await scene.sent(("a", 30, {}))
    assert await scene.ticking.tick() == []


async def test_nonsense_is_refused(scene: Scene) -> None:
    for days, problem in ((-5, BadPolicy), (10**6, BadPolicy), (None, BadPolicy)):
        with pytest.raises(problem):
            await scene.policy("logs", days=days)
    with pytest.raises(UnknownCategory):
        await scene.policy("nothing", days=1)
    with pytest.raises(NotPurged):
        await scene.policy("audit", days=1)
    with pytest.raises(NotPurged):
        await scene.service.request(SYSTEM, "audit", reason="x")
    with pytest.raises(NoPolicy):
        await scene.service.request(SYSTEM, "purges", reason="x")
    for wrong in (
        Condition("nothing", "eq", 1),
        Condition("level", "eq", "high"),
        Condition("message", "prefix", 3),
    ):
        with pytest.raises(Invalid):
            await scene.hold("case", "logs", wrong)
    with pytest.raises(UnknownCategory):
        await scene.hold("case", "nothing")


async def test_a_purge_never_takes_many_more_rows_than_were_looked_at(scene: Scene) -> None:
    await scene.sent(("a", 30, {}))
    asked = await scene.service.request(SYSTEM, "events", reason="x")
    assert asked.purge is not None
    await scene.db.run(
        lambda conn: conn.exec_driver_sql(
            f"UPDATE valhalla.retention_runs SET most = 0 WHERE id = '{asked.purge.id}'"  # type: ignore[union-attr]
        )
    )

    assert await scene.feature.purger.execute(asked.purge.id) == "failed"
    assert await scene.left() == ["a"]
