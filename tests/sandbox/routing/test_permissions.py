"""Why a sandbox has an account of its own: permissions in a shared one do not bind the server's answers."""

from __future__ import annotations

import asyncio

from tests.sandbox.routing.conftest import Bus, event

from valhalla.kernel.ids import new_id
from valhalla.kit import natsauth
from valhalla.kit.nkeys import KeyPair
from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.lanes import close_lane, next_message, open_lane
from valhalla.sandbox.routing.link import Link


async def test_permissions_alone_do_not_stop_a_reply_into_production(bus: Bus, key: str) -> None:
    """One who may only read its lane has the server write into production: by the subject of the reply.

    That a sandbox's own account stops this is tested with all other attacks on lanes.
    """
    claims, sandbox = bus.claims(), new_id()
    await open_lane(bus.link, sandbox)
    asked = [f"$JS.API.CONSUMER.{what}.{STREAM}.s-{sandbox}" for what in ("MSG.NEXT", "INFO")]
    user = KeyPair.derive(bus.cell, "user", sandbox)
    account = KeyPair.derive(bus.cell, "account", "control")
    token = natsauth.user_jwt(account, user.public, name="reader", publish=asked, subscribe=["_INBOX.>"])
    reader = await Link.open(bus.url, natsauth.creds_file(token, user), name="reader")
    async with bus.ingress() as ingress:
        await bus.claim(claims, key, sandbox)
        await ingress.publish(event(key))
    wanted = f"ev.p.tenant.{key}.t"
    # what it may not do openly it gets done; the event itself the stream knows already, by its id
    reader.publish(wanted, b"forged")
    for subject in asked:
        reader.publish(subject, b"", reply=wanted)
    found = None
    async with asyncio.timeout(10):
        while found is None:
            found = await next_message(bus.link, STREAM, 1, wanted)
            await asyncio.sleep(0.02)
    assert f'"name":"s-{sandbox}"'.encode() in found[3]
    assert b"forged" not in found[3]
    await reader.close()
    await close_lane(bus.link, sandbox)
    await claims.close()
