"""A hundred thousand alerts: bounded in memory and in rows, and every one of them counted."""

from __future__ import annotations

import threading
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.features.alerts.conftest import Scene

from valhalla.features.observability.alerts.contracts import Filter, Limits, Raised
from valhalla.features.observability.alerts.grouping import OVERFLOW
from valhalla.features.observability.alerts.intake import Intake
from valhalla.kernel.alerting import fingerprint
from valhalla.kernel.principal import SYSTEM
from valhalla.kernel.problems import Unavailable

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def occurrence(name: str, *, source: str = "code", **members: Any) -> Raised:
    return Raised(
        fingerprint=fingerprint(f"{source}/{name}"),
        name=name,
        source=source,
        severity="error",
        title=name,
        at=NOW,
        **members,
    )


async def every(scene: Scene) -> dict[str, Any]:
    return {alert.name: alert for alert in (await scene.service.page(SYSTEM, Filter(), limit=200)).items}


async def test_many_of_few_are_counted_exactly(scene: Scene) -> None:
    for number in range(20_000):
        scene.service.raise_("payment.failed", labels={"provider": "ab"[number % 2]})
    await scene.service.drain()

    assert {alert.count for alert in (await scene.service.page(SYSTEM, Filter())).items} == {10_000}
    assert scene.feature.intake.counts() == {"raised": 20_000, "overflowed": 0, "dropped": 0}


async def test_many_different_ones_overflow_and_none_is_lost(small: Scene) -> None:
    for number in range(3_000):
        small.service.raise_(f"order.{number}.failed", context={"number": number})
        if number % 500 == 0:
            await small.service.drain()
    await small.service.drain()

    alerts = await every(small)
    assert len(alerts) == 21
    assert sum(alert.count for alert in alerts.values()) == 3_000
    assert alerts[OVERFLOW].context["last"]["name"].startswith("order.")
    assert small.feature.intake.dropped == 0
    assert len(await small.told()) == 21


async def test_the_next_minute_has_room_again_up_to_what_may_be_open(small: Scene) -> None:
    for _ in range(3):
        for number in range(25):
            small.service.raise_(f"{small.clock.now():%M}.{number}")
        await small.service.drain()
        small.clock.move(seconds=61)

    alerts = await every(small)
    assert sum(name != OVERFLOW for name in alerts) == 29
    assert sum(alert.count for alert in alerts.values()) == 75


async def test_one_source_s_storm_leaves_room_for_the_others(small: Scene) -> None:
    for number in range(40):
        small.service.raise_(f"a.{number}", source="loud")
    small.service.raise_("b", source="quiet")
    await small.service.drain()

    assert "b" in await every(small)


async def test_events_of_a_storm_are_written_in_batches(small: Scene) -> None:
    happened = [small.event("job.dead", name=f"job-{number}") for number in range(300)]

    await small.deliver(*happened)
    await small.deliver(*happened)

    alerts = await every(small)
    assert sum(alert.count for alert in (await small.service.page(SYSTEM, Filter(), limit=200)).items) == 300
    assert alerts[OVERFLOW].labels == {"of": "job"}


async def test_what_cannot_be_written_is_kept_in_order(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    run = scene.db.run
    away = True

    async def refuse(*arguments: Any, **options: Any) -> Any:
        if away:
            raise Unavailable("postgres")
        return await run(*arguments, **options)

    monkeypatch.setattr(scene.db, "run", refuse)
    scene.service.raise_("a")
    scene.service.raise_("b")
    for _ in range(3):
        with pytest.raises(Unavailable):
            await scene.service.drain()
        scene.service.raise_("a")
    scene.service.settle("b")
    away = False
    await scene.service.drain()

    alerts = await every(scene)
    assert (alerts["a"].count, alerts["a"].status) == (4, "open")
    assert (alerts["b"].count, alerts["b"].status) == (1, "resolved")


def test_memory_stays_where_it_is_however_many_come() -> None:
    intake = Intake(Limits(pending=200, sources=5))
    tracemalloc.start()
    try:
        for number in range(2_000):
            intake.put(occurrence(f"n{number}"))
        before = tracemalloc.get_traced_memory()[0]
        for number in range(10_000):
            intake.put(occurrence(f"m{number}", source=f"s{number % 50}"))
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    groups = intake.take()
    assert len(groups) == 205
    assert after - before < 100_000
    assert sum(group.count for group in groups) + intake.dropped == 12_000
    assert intake.raised == 12_000


def test_threads_lose_no_occurrence() -> None:
    intake = Intake(Limits(pending=10))
    taken: list[int] = []

    def put() -> None:
        for number in range(2_000):
            intake.put(occurrence(f"n{number % 20}"))

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.append(sum(group.count for group in intake.take()))
    for thread in threads:
        thread.join()
    taken.append(sum(group.count for group in intake.take()))

    assert sum(taken) == 8_000


def test_after_the_end_nothing_is_taken() -> None:
    intake = Intake(Limits())
    intake.put(occurrence("a"))
    intake.close()
    intake.put(occurrence("a"))
    intake.put(occurrence("b"))

    assert (len(intake.take()), intake.dropped) == (1, 2)


@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_a_storm_of_different_ones(scene: Scene, count: int) -> None:
    for number in range(count):
        scene.service.raise_(f"order.{number}.failed", labels={"n": str(number)}, context={"n": number})
        if number % 10_000 == 0:
            await scene.service.drain()
    await scene.service.drain()

    assert await scene.count() == 501
    query = "SELECT sum(count) FROM valhalla.alerts"
    assert await scene.db.read(lambda conn: conn.exec_driver_sql(query).scalar_one()) == count
