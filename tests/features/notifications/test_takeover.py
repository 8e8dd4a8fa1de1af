"""Several processes, one delivers: what another takes over, and what of a failing channel outlives a restart."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from tests.conftest import Servers
from tests.features.notifications.conftest import Scene
from tests.features.notifications.receiver import Receiver, status

pytestmark = pytest.mark.slow


async def test_one_leads_and_another_goes_on(scene: Scene, servers: Servers, receiver: Receiver) -> None:
    other = Scene(scene.db, servers)
    await other.feed.start()
    await scene.hook("ops", receiver)
    await scene.until(await scene.send("ops", "first"), "delivered")
    await other.start()
    try:
        await asyncio.sleep(1.5)
        assert (scene.feature.deliverer.is_leading, other.feature.deliverer.is_leading) == (True, False)
        # what a process had taken when it died
        await scene.end()
        left = await scene.send("ops", "second")
        await scene.db.run(
            lambda conn: conn.execute(sa.text("UPDATE valhalla.notification_deliveries SET status = 'delivering'"
                                              " WHERE status = 'pending'"))
        )  # fmt: skip
        await scene.until(left, "delivered")
        assert other.feature.deliverer.is_leading
    finally:
        await other.end()
        await other.feature.stop()
        await other.feed.stop()


async def test_a_lost_connection_is_a_pause(scene: Scene, receiver: Receiver) -> None:
    await scene.hook("ops", receiver)
    await scene.until(await scene.send("ops", "first"), "delivered")
    await scene.db.read(
        lambda conn: conn.execute(
            sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND datname = current_database()")
        )
    )  # fmt: skip
    async with asyncio.timeout(30):
        while True:
            try:
                sent = await scene.send("ops", "second")
                break
            except Exception:  # noqa: BLE001 - pooled connections were ended, too
                await asyncio.sleep(0.1)
    await scene.until(sent, "delivered")


async def test_a_restart_does_not_tell_again_that_a_channel_fails(scene: Scene, receiver: Receiver) -> None:
    receiver.usual = status(500)
    await scene.hook("ops", receiver, ordered=False)
    for n in range(4):
        await scene.send("ops", f"m{n}")
    await receiver.wait(4)
    await asyncio.sleep(0.5)
    await scene.end()
    await scene.start()
    await scene.send("ops", "another")
    await asyncio.sleep(2)
    assert [kind for kind, _ in await scene.told()] == ["delivery.failed"]
    receiver.usual = status(200)
    sent = await scene.send("ops", "at last")
    from valhalla.kernel.principal import SYSTEM

    await scene.feature.channels.resume(SYSTEM, "ops")
    await scene.until(sent, "delivered")
    await asyncio.sleep(0.3)
    assert [kind for kind, _ in await scene.told()] == ["delivery.failed", "delivery.recovered"]
