"""A deployment from its record to its end, and the figures that come of many."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.deployments.conftest import Scene

from valhalla.features.operations.deployments import Draft
from valhalla.features.operations.deployments.contracts import Filter, Finished
from valhalla.features.operations.deployments.errors import BadRollback, DeploymentNotFound, VerdictMissing
from valhalla.features.operations.deployments.rules import dora
from valhalla.features.operations.deployments.smoke import Check
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kernel.problems import Forbidden, IllegalTransition, Invalid, Problem

READER = Principal("reader", "team", frozenset({"deployments:read"}))
START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_rollback_ends_what_it_rolls_back_and_the_one_before_is_current_no_more(scene: Scene) -> None:
    bad = await scene.service.record(SYSTEM, Draft("prod", "shop", "2.0", "abcdef1", scene.clock.now(), start=True))
    scene.clock.move(minutes=10)
    await scene.service.move(SYSTEM, bad.id, "succeeded")
    scene.clock.move(minutes=20)
    good = await scene.service.record(SYSTEM, Draft("prod", "shop", "1.9", rollback_of=bad.id, start=True))
    scene.clock.move(minutes=5)
    await scene.service.move(SYSTEM, good.id, "succeeded", notes="back")

    undone = await scene.service.get(READER, bad.id)
    assert (undone.status, undone.rolled_back_by, undone.failed_at) == ("rolled_back", good.id, scene.clock.now())
    assert undone.finished_at == scene.clock.now() - timedelta(minutes=25)
    assert [one.id for one in await scene.service.current(READER, "prod")] == [good.id]
    assert [kind for kind, _ in await scene.told()] == [
        *("deployment.in_progress", "deployment.succeeded", "deployment.in_progress"),
        *("deployment.succeeded", "deployment.rolled_back"),
    ]
    figures = await scene.service.dora(
        READER,
        scene.clock.now() - timedelta(days=1),
        scene.clock.now() + timedelta(seconds=1),
        environment=None,
        service=None,
    )
    assert (figures.deployments, figures.failures, figures.failure_rate, figures.per_day) == (
        2,
        1,
        0.5,
        pytest.approx(2, rel=1e-3),
    )
    assert figures.lead_time.median == 600


async def test_of_racing_callers_one_wins(scene: Scene) -> None:
    made = await scene.service.record(SYSTEM, Draft("prod", "shop", "2.0", start=True))

    outcomes = await asyncio.gather(
        *(scene.service.move(SYSTEM, made.id, to) for to in ("succeeded", "failed", "succeeded")),
        return_exceptions=True,
    )

    assert sum(not isinstance(each, Exception) for each in outcomes) == 1
    assert all(isinstance(each, IllegalTransition) for each in outcomes if isinstance(each, Exception))


async def test_a_failed_smoke_test_stops_its_success_until_one_passes(scene: Scene) -> None:
    made = await scene.service.record(SYSTEM, Draft("prod", "shop", "2.0", start=True))
    await scene.suite(Check("flaky", "/flaky"))

    await scene.run(deployment=made.id)
    with pytest.raises(VerdictMissing):
        await scene.service.move(SYSTEM, made.id, "succeeded")
    await scene.run(deployment=made.id)
    passed, _ = await scene.run(deployment=made.id)

    linked = await scene.service.get(READER, made.id)
    assert (linked.verdict, linked.smoke_run) == ("passed", passed.id)
    assert (await scene.service.move(SYSTEM, made.id, "succeeded")).status == "succeeded"


async def test_what_is_refused(scene: Scene) -> None:
    shop = await scene.service.record(SYSTEM, Draft("prod", "shop", "2.0"))

    refusals: list[tuple[type[Problem], object]] = [
        (Forbidden, scene.service.record(READER, Draft("prod", "shop", "1"))),
        (DeploymentNotFound, scene.service.get(READER, "nothing")),
        (DeploymentNotFound, scene.service.move(SYSTEM, "nothing", "failed")),
        (IllegalTransition, scene.service.move(SYSTEM, shop.id, "succeeded")),
        (BadRollback, scene.service.record(SYSTEM, Draft("prod", "shop", "1", rollback_of=shop.id))),
        (BadRollback, scene.service.record(SYSTEM, Draft("test", "shop", "1", rollback_of=shop.id))),
        (Invalid, scene.service.record(SYSTEM, Draft("a", "b", "c", committed_at=scene.clock.now() + timedelta(1)))),
        (Invalid, scene.service.dora(READER, START, START, environment=None, service=None)),
    ]
    for kind, refused in refusals:
        with pytest.raises(kind):
            await refused  # type: ignore[misc]


async def test_pages_follow_each_other_without_a_gap(scene: Scene) -> None:
    ids = [(await scene.service.record(SYSTEM, Draft("prod", f"s{n}", "1"))).id for n in range(5)]

    seen, cursor = [], None
    while True:
        page = await scene.service.page(READER, Filter(environment="prod"), limit=2, cursor=cursor)
        seen += [one.id for one in page.items]
        if (cursor := page.next) is None:
            break

    assert sorted(seen) == sorted(ids)
    assert len(seen) == 5


def _at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def test_the_four_figures_of_a_hand_made_week() -> None:
    rows = [
        Finished("prod", "shop", _at(0), _at(-60), None, good=True),
        Finished("prod", "shop", _at(100), _at(80), _at(130), good=True),
        Finished("prod", "shop", _at(150), None, None, good=True),
        Finished("prod", "mail", _at(160), None, _at(160), good=False),
        Finished("test", "mail", _at(170), None, None, good=True),
    ]

    found = dora(rows, START, START + timedelta(days=2))

    assert (found.deployments, found.per_day, found.failures, found.failure_rate) == (4, 2.0, 2, 0.4)
    assert (found.lead_time.count, found.lead_time.median, found.lead_time.p90) == (2, 2400, 3600)
    assert (found.time_to_restore.count, found.time_to_restore.median, found.unrestored) == (1, 1200, 1)


_rows = st.builds(
    lambda place, minutes, lead, failed, good: Finished(
        place,
        "s",
        _at(minutes),
        None if lead is None else _at(minutes - lead),
        # one that did not go live has failed when it finished
        (None if failed is None else _at(minutes + failed + 1)) if good else _at(minutes),
        good,
    ),
    st.sampled_from(["a", "b"]),
    st.integers(0, 5000),
    st.none() | st.integers(0, 500),
    st.none() | st.integers(0, 500),
    st.booleans(),
)


@settings(max_examples=40)
@given(st.lists(_rows, max_size=12), st.randoms())
def test_the_figures_add_up_in_any_order(rows: list[Finished], random: object) -> None:
    until = START + timedelta(days=3)
    found = dora(rows, START, until)
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert dora(shuffled, START, until) == found
    assert found.failures == found.time_to_restore.count + found.unrestored
    window = [row for row in rows if row.finished_at < until]
    assert found.deployments + sum(not row.good for row in window) == len(window)
    assert found.failure_rate is None or 0 <= found.failure_rate <= 1
    assert found.lead_time.median is None or 0 <= found.lead_time.median <= (found.lead_time.p90 or 0) + 1e9
