"""What people do with alerts: acknowledge, resolve, silence, weigh anew, look through them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.features.alerts.conftest import Scene
from tests.features.alerts.people import READER, WRITER, only

from valhalla.features.observability.alerts.contracts import AlertRule, Filter, Matcher
from valhalla.features.observability.alerts.errors import NoSuchAlert
from valhalla.kernel.principal import SYSTEM
from valhalla.kernel.problems import Conflict, Forbidden, IllegalTransition, Problem


async def test_people_acknowledge_and_resolve_once(scene: Scene) -> None:
    scene.service.raise_("disk.full")
    await scene.service.drain()
    alert = await only(scene)

    seen = await scene.service.acknowledge(WRITER, alert.fingerprint, "on it")
    with pytest.raises(IllegalTransition) as refused:
        await scene.service.acknowledge(WRITER, alert.id)
    done = await scene.service.resolve(WRITER, alert.id)

    assert (seen.status, seen.acknowledged_by, seen.note, seen.escalate_at) == ("acknowledged", "writer", "on it", None)
    assert refused.value.extra["legal"] == ["open", "resolved"]
    assert (done.status, done.resolved_by) == ("resolved", "writer")
    steps = [(actor, action, details.get("from")) for actor, action, details in await scene.ledger()]
    assert steps == [
        ("alerts", "opened", None),
        ("writer", "acknowledged", "open"),
        ("writer", "resolved", "acknowledged"),
    ]
    with pytest.raises(NoSuchAlert):
        await scene.service.resolve(WRITER, "nothing")


async def test_readers_change_nothing(scene: Scene) -> None:
    for refused in (
        scene.service.acknowledge(READER, "x"),
        scene.service.bulk(READER, "resolved", Filter()),
        scene.service.report(READER, name="x", severity="info"),
    ):
        with pytest.raises(Forbidden):
            await refused
    with pytest.raises(Forbidden):
        await scene.service.report(WRITER, name="job.dead", severity="info", source="job")


async def test_of_racing_callers_one_acknowledges(scene: Scene) -> None:
    scene.service.raise_("disk.full")
    await scene.service.drain()
    alert = await only(scene)

    ends = await asyncio.gather(
        *(scene.service.acknowledge(WRITER, alert.id) for _ in range(8)), return_exceptions=True
    )

    assert sum(not isinstance(end, Exception) for end in ends) == 1
    assert all(isinstance(end, (Conflict, Problem)) for end in ends if isinstance(end, Exception))


async def test_what_is_acknowledged_and_grows_worse_wants_to_be_seen_again(scene: Scene) -> None:
    scene.service.raise_("disk.full", "warning")
    await scene.service.drain()
    await scene.service.acknowledge(WRITER, (await only(scene)).id)
    scene.service.raise_("disk.full", "warning")
    await scene.service.drain()
    still = await only(scene)
    scene.service.raise_("disk.full", "critical")
    await scene.service.drain()
    worse = await only(scene)

    assert (still.status, still.count) == ("acknowledged", 2)
    assert (worse.status, worse.severity, worse.acknowledged_by) == ("open", "critical", None)
    assert [kind for kind, _ in await scene.told()] == ["alert.opened", "alert.escalated"]


async def test_unacknowledged_it_escalates_a_few_times(scene: Scene) -> None:
    scene.service.raise_("disk.full", "error")
    await scene.service.drain()
    severities: list[str] = []
    for _ in range(6):
        scene.clock.move(minutes=31)
        await asyncio.gather(scene.feature.watch.look(), scene.feature.watch.look())
        severities.append((await only(scene)).severity)

    assert severities[0] == "critical"
    assert (await only(scene)).escalations == 3
    assert [kind for kind, _ in await scene.told()] == ["alert.opened", *["alert.escalated"] * 3]


async def test_what_is_seen_or_silenced_or_slight_does_not_escalate(scene: Scene) -> None:
    scene.service.raise_("seen", "critical")
    scene.service.raise_("silenced", "critical")
    scene.service.raise_("slight", "warning")
    await scene.service.drain()
    everything = {alert.name: alert for alert in (await scene.service.page(SYSTEM, Filter())).items}
    await scene.service.acknowledge(WRITER, everything["seen"].id)
    await scene.feature.silences.put(
        WRITER,
        matchers=[Matcher("alertname", "silen.*", regex=True)],
        ends_at=scene.clock.now() + timedelta(hours=2),
        reason="known",
    )
    scene.clock.move(hours=1)

    await scene.feature.watch.look()

    assert {alert.escalations for alert in (await scene.service.page(SYSTEM, Filter())).items} == {0}
    scene.clock.move(hours=2)
    await scene.feature.watch.look()
    after = {alert.name: alert.escalations for alert in (await scene.service.page(SYSTEM, Filter())).items}
    assert after == {"seen": 0, "silenced": 1, "slight": 0}


async def test_operators_mute_reweigh_and_wait_for_more(scene: Scene) -> None:
    for key, rule in {
        "quiet": AlertRule(match="noise.*", muted=True),
        "weigh": AlertRule(match="disk.*", severity="info", escalate_after=0),
        "often": AlertRule(match="slow", threshold=3, window=60),
    }.items():
        await scene.db.run(scene.feature.policy.rules.put, key, rule, actor="admin")
    await scene.feed.refresh()

    for name in ("noise.a", "disk.full", "slow", "slow"):
        scene.service.raise_(name, "critical")
        await scene.service.drain()
    before = {alert.name: alert for alert in (await scene.service.page(SYSTEM, Filter())).items}
    scene.service.raise_("slow", "critical")
    await scene.service.drain()
    after = {alert.name: alert for alert in (await scene.service.page(SYSTEM, Filter())).items}

    assert {name: (one.severity, one.escalate_at) for name, one in before.items()} == {"disk.full": ("info", None)}
    assert after["slow"].count == 3
    assert scene.feature.recorder.muted == 1


async def test_bulk_says_first_what_it_would_do(scene: Scene) -> None:
    for number in range(5):
        scene.service.raise_(f"a{number}", "error" if number % 2 else "info", title=f"100%_{number}")
    await scene.service.drain()

    would = await scene.service.bulk(WRITER, "acknowledged", Filter(severities=("error",)), dry_run=True)
    untouched = await scene.count("status = 'acknowledged'")
    did = await scene.service.bulk(WRITER, "acknowledged", Filter(severities=("error",)))
    again = await scene.service.bulk(WRITER, "acknowledged", Filter(severities=("error",)))
    literal = await scene.service.bulk(WRITER, "resolved", Filter(text="%_3"), dry_run=True)

    assert (would.matched, would.changed, untouched) == (2, 2, 0)
    assert (did.changed, set(did.ids)) == (2, set(would.ids))
    assert (again.matched, again.changed) == (2, 0)
    assert literal.matched == 1


async def test_pages_hold_every_alert_once(scene: Scene) -> None:
    for number in range(7):
        scene.service.raise_(f"a{number}")
    await scene.service.drain()

    names: list[str] = []
    cursor = None
    while True:
        page = await scene.service.page(READER, Filter(), limit=3, cursor=cursor)
        names += [alert.name for alert in page.items]
        if (cursor := page.next) is None:
            break

    assert sorted(names) == [f"a{number}" for number in range(7)]
