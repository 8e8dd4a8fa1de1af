"""Receivers that are hostile, gone or failing: nothing is lost, somebody stands in, and others do not wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.features.notifications.conftest import Scene
from tests.features.notifications.receiver import Receiver, receiving, status

from valhalla.kernel.principal import SYSTEM

pytestmark = pytest.mark.slow


async def test_hostile_endpoints(scene: Scene, receiver: Receiver) -> None:
    await scene.hook("ops", receiver, timeout=0.3, ordered=False, attempts=1)
    cases: dict[str, Any] = {
        "hangs": (None, "dead", "no answer within 0.3 s"),
        "streams": (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"4\r\njunk\r\n" * 9999,
            "delivered",
            None,
        ),
        "redirects": (status(307, "Location: http://169.254.169.254/"), "dead", "redirects are not followed"),
        "speaks no http": (b"220 smtp\r\n\r\n", "dead", "no HTTP"),
        "garbage": (status(200, body=bytes(range(256)) * 10), "delivered", None),
    }
    for what, (answer, wanted, why) in cases.items():
        receiver.answers = [answer]
        found, tries = await scene.until(await scene.send("ops", what), "dead", "delivered")
        assert found.status == wanted, what
        assert why is None or why in (found.error or ""), (what, found.error)
        assert len(tries[0].excerpt or "") <= 520


async def test_gone_disables_the_channel_and_loses_nothing(scene: Scene, receiver: Receiver) -> None:
    async with receiving() as other:
        await scene.hook("spare", other)
        await scene.hook("ops", receiver, fallback="spare")
        receiver.answers = [status(410)]
        sent = [await scene.send("ops", f"m{n}") for n in range(3)]
        await other.wait(3)
        assert [got.payload["data"]["title"] for got in other.got[:3]] == ["m0", "m1", "m2"]
        await scene.feed.refresh()
        channel = scene.feature.policy.channel("ops")
        assert channel is not None
        assert channel.enabled is False
        assert ("delivery.failed", "ops") in [(kind, data["channel"]) for kind, data in await scene.told()]
        assert {(await scene.find(each))[0].status for each in sent} == {"failed", "pending"}
        await scene.hook("ops", receiver, fallback="spare", enabled=True)
        await scene.feature.channels.resume(SYSTEM, "ops")
        for each in sent:
            await scene.until(each, "delivered")
        assert [kind for kind, _ in await scene.told()] == ["delivery.failed", "delivery.recovered"]


async def test_who_fails_is_stood_in_for_and_told_of_once(scene: Scene, receiver: Receiver) -> None:
    async with receiving() as other:
        await scene.hook("spare", other)
        await scene.hook("ops", receiver, fallback="spare", ordered=False)
        await scene.rule("watch", "ops", events=("delivery.*",))
        receiver.usual = status(500)
        sent = [await scene.send("ops", f"m{n}") for n in range(5)]
        await other.wait(5)
        titles = {got.payload["data"]["title"] for got in other.got}
        assert titles == {f"m{n}" for n in range(5)}
        told = [data for kind, data in await scene.told() if kind == "delivery.failed"]
        assert [each["channel"] for each in told] == ["ops"]
        # and that news goes to the stand-in, not to who fails
        await scene.happen("delivery.failed", channel="ops", error=told[0]["error"])
        await other.wait(6)
        assert other.got[5].payload["type"] == "delivery.failed"
        assert all(got.payload["type"] != "delivery.failed" for got in receiver.got)
        copies = [each for each in await scene.listed(channel="spare") if each.origin is not None]
        assert {each.origin for each in copies} == set(sent)


async def test_two_broken_channels_that_stand_in_for_each_other_come_to_rest(scene: Scene, receiver: Receiver) -> None:
    receiver.usual = status(500)
    await scene.hook("a", receiver, ordered=False)
    await scene.hook("b", receiver, ordered=False, fallback="a")
    await scene.hook("a", receiver, ordered=False, fallback="b")
    for n in range(4):
        await scene.send("a", f"m{n}")
    await asyncio.sleep(9)
    everything = await scene.listed()
    assert len(everything) == 8
    assert {each.path for each in everything} == {(), ("a",)}


async def test_messages_for_channels_that_are_no_more_can_be_replayed(scene: Scene, receiver: Receiver) -> None:
    await scene.hook("ops", receiver, enabled=True)
    receiver.usual = status(500)
    sent = await scene.send("ops", "m")
    await scene.until(sent, "failed")
    await scene.db.run(lambda conn: scene.feature.policy.channels.delete(conn, "ops", actor="test"))
    await scene.feed.refresh()
    found, _ = await scene.until(sent, "dead")
    assert found.error == "there is no such channel"
    receiver.usual = status(200)
    await scene.hook("ops", receiver)
    await scene.service.replay(SYSTEM, sent)
    await scene.until(sent, "delivered")
