"""An alert from the first occurrence to its end, against a real database."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.features.alerts.conftest import Scene
from tests.features.alerts.people import WRITER, only

from valhalla.features.observability.alerts.alertmanager.rules import raised
from valhalla.features.observability.alerts.alertmanager.wire import PostableAlert
from valhalla.features.observability.alerts.contracts import AlertSubscription, Filter, Matcher


async def test_occurrences_are_one_alert_with_the_last_context(scene: Scene) -> None:
    for number in range(3):
        scene.service.raise_("disk.full", "warning", labels={"disk": "a"}, context={"n": number, "password": "hunter2"})
        scene.clock.move(seconds=1)
        await scene.service.drain()

    alert = await only(scene)

    assert (alert.count, alert.status, alert.severity, alert.episodes) == (3, "open", "warning", 1)
    assert alert.context == {"n": 2, "password": "***"}
    assert alert.last_at - alert.first_at == timedelta(seconds=2)
    assert [kind for kind, _ in await scene.told()] == ["alert.opened"]
    assert [(actor, action) for actor, action, _ in await scene.ledger()] == [("alerts", "opened")]


async def test_an_event_that_is_delivered_twice_is_counted_once(scene: Scene) -> None:
    one, two = scene.event("job.dead", name="mail", id="1"), scene.event("job.dead", name="mail", id="2")

    await scene.deliver(one, two)
    await scene.deliver(one, two)
    await scene.deliver(two, scene.event("sandbox.created", id="x"), scene.event("alert.opened", id="y"))

    alert = await only(scene)
    assert (alert.name, alert.count, alert.labels, alert.source) == ("job.dead", 2, {"name": "mail"}, "job")


@pytest.mark.parametrize(
    ("begins", "ends", "data"),
    [
        ("heartbeat.missed", "heartbeat.recovered", {"name": "worker.a"}),
        ("readiness.lost", "readiness.regained", {"checks": ["postgres"]}),
    ],
)
async def test_the_recovery_resolves_and_a_relapse_opens_again(
    scene: Scene, begins: str, ends: str, data: dict[str, Any]
) -> None:
    await scene.deliver(scene.event(begins, **data))
    await scene.deliver(scene.event(ends, **data))
    over = await only(scene)
    await scene.deliver(scene.event(begins, **data))
    again = await only(scene)

    assert (over.status, over.resolved_by, over.escalate_at) == ("resolved", "alerts", None)
    assert (again.id, again.status, again.count, again.episodes, again.resolved_at) == (over.id, "open", 2, 2, None)
    assert [kind for kind, _ in await scene.told()] == ["alert.opened", "alert.resolved", "alert.opened"]
    assert [action for _, action, _ in await scene.ledger()] == ["opened", "resolved", "reopened"]


async def test_another_source_s_recovery_resolves_nothing(scene: Scene) -> None:
    await scene.deliver(scene.event("heartbeat.missed", name="worker.a"))
    await scene.deliver(scene.event("heartbeat.recovered", name="worker.b"))

    assert (await only(scene)).status == "open"


async def test_what_began_and_ended_between_two_writes_is_seen(scene: Scene) -> None:
    scene.service.raise_("flap")
    scene.service.settle("flap")
    await scene.service.drain()

    assert (await only(scene)).status == "resolved"
    assert [kind for kind, _ in await scene.told()] == ["alert.opened", "alert.resolved"]


async def test_racing_writers_open_once_and_lose_no_count(scene: Scene) -> None:
    async def raised() -> None:
        await scene.service.report(WRITER, name="disk.full", severity="error", labels={"disk": "a"})

    await asyncio.gather(*(raised() for _ in range(12)))

    assert (await only(scene)).count == 12
    assert [kind for kind, _ in await scene.told()] == ["alert.opened"]


async def test_subscribers_hear_what_they_asked_for_unless_it_is_silenced(scene: Scene) -> None:
    policy = scene.feature.policy
    for key, value in {
        "all": AlertSubscription(),
        "bad": AlertSubscription(pattern="disk.*", minimum="error", events=("opened",)),
        "other": AlertSubscription(pattern="job.*"),
    }.items():
        await scene.db.run(policy.subscriptions.put, key, value, actor="admin")
    await scene.feed.refresh()

    scene.service.raise_("disk.full", "error", labels={"disk": "a"})
    scene.service.raise_("disk.full", "warning", labels={"disk": "b"})
    scene.service.raise_("disk.full", "info", labels={"disk": "c"})
    await scene.service.drain()
    silence = await scene.feature.silences.put(
        WRITER,
        matchers=[Matcher("disk", "a")],
        ends_at=scene.clock.now() + timedelta(hours=1),
        reason="being replaced",
    )
    await scene.service.bulk(WRITER, "resolved", Filter())

    told = {(kind, data["labels"]["disk"]): data for kind, data in await scene.told()}
    assert told["alert.opened", "a"]["subscriptions"] == ["all", "bad"]
    assert told["alert.opened", "b"]["subscriptions"] == ["all"]
    assert told["alert.opened", "c"]["subscriptions"] == []
    assert told["alert.resolved", "a"]["subscriptions"] == []
    assert told["alert.resolved", "a"]["silenced_by"] == [silence.id]
    assert told["alert.resolved", "b"]["subscriptions"] == ["all"]


async def test_events_that_nobody_delivers_again_are_forgotten(scene: Scene) -> None:
    await scene.deliver(scene.event("job.dead", name="mail"))
    assert await scene.feature.watch.prune() == 0
    scene.clock.move(days=31)

    assert await scene.feature.watch.prune() == 1


async def test_what_is_no_longer_sent_is_over(scene: Scene) -> None:
    sent = PostableAlert(labels={"alertname": "up", "instance": "a"})
    await scene.service.take(WRITER, [raised(sent, scene.clock.now())])
    scene.clock.move(minutes=4)
    await scene.service.take(WRITER, [raised(sent, scene.clock.now())])
    scene.clock.move(minutes=4)
    await scene.feature.watch.look()
    still = await only(scene)
    scene.clock.move(minutes=2)
    await scene.feature.watch.look()
    over = await only(scene)

    assert (still.status, still.count) == ("open", 2)
    assert (over.status, over.resolved_by) == ("resolved", "alerts")
    assert [details.get("reason") for _, action, details in await scene.ledger() if action == "resolved"] == [
        "no longer sent"
    ]
