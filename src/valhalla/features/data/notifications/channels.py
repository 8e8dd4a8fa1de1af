"""What is done with channels besides changing them: trying them, their keys, how they fare."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.features.data.notifications import signing, store
from valhalla.features.data.notifications.composing import example
from valhalla.features.data.notifications.contracts import Channel, Item, Standing
from valhalla.features.data.notifications.delivering import Outfit
from valhalla.features.data.notifications.errors import ChannelNotFound, NoSigningKey
from valhalla.features.data.notifications.masking import Masking
from valhalla.features.data.notifications.policy import Policy
from valhalla.features.data.notifications.senders import Result
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Record

READ: Final = "notifications:read"
WRITE: Final = "notifications:write"
Waiting = dict[tuple[str, str], int]
_OVERLAP: Final = timedelta(hours=24)


class ChannelService:
    """Tests channels, changes their keys, lets them try again."""

    def __init__(
        self, db: Database, ledger: Ledger, policy: Policy, masking: Masking, outfit: Outfit, *, clock: Clock
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._policy = policy
        self._masking = masking
        self._outfit = outfit
        self._clock = clock

    async def test(self, principal: Principal, name: str) -> tuple[Result, float]:
        """Send a message by a channel now, past its queue, and return what came of it; a disabled one, too.

        Raises:
            ChannelNotFound: there is no such channel.
        """
        principal.require(WRITE)
        record = await self._record(name)
        now = self._clock.now()
        item = Item(
            "notification.test",
            now,
            "info",
            "This is a test",
            {"channel": name},
            "notify.test",
            "If you can read this, the channel works.",
        )
        delivery = example(item, channel=name, actor=principal.id)
        sender = self._outfit.sender(record.value)
        began = time.perf_counter()
        result = await sender.send(delivery)
        seconds = time.perf_counter() - began
        details = {"outcome": result.outcome, "status": result.status, "error": result.error}
        await self._db.run(
            lambda conn: self._ledger.append(
                conn, actor=principal.id, action="tested", kind="notification_channel", subject=name, details=details
            )
        )
        return result, seconds

    async def rotate(self, principal: Principal, name: str, *, at_once: bool) -> tuple[str, datetime | None]:
        """Make a new signing secret of a webhook; the old one signs beside it for a day, or ceases ``at_once``.

        Raises:
            ChannelNotFound: there is no such channel.
            NoSigningKey: it is no webhook.
        """
        principal.require(WRITE)
        secret = signing.new_secret()
        until = None if at_once else self._clock.now() + _OVERLAP

        def work(conn: Connection) -> None:
            self._policy.channels.lock(conn)
            record = self._policy.channels.find(conn, name)
            if record is None:
                raise ChannelNotFound(f"there is no notification channel {name[:64]!a}", key=ascii(name[:64]))
            if record.value.webhook is None:
                raise NoSigningKey(f"'{name}' is of kind {record.value.kind}")
            rotated = self._masking.rotated(record.value, secret, until)
            self._policy.channels.put(conn, name, rotated, actor=principal.id, reason="a new signing secret")

        await self._db.run(work)
        await self._policy.settle()
        return secret, until

    async def keys(self, principal: Principal, name: str) -> tuple[Channel, int]:
        """Return a webhook's channel and how many symmetric secrets it signs with.

        Raises:
            ChannelNotFound: there is no such channel.
            NoSigningKey: it is no webhook.
        """
        principal.require(READ)
        record = await self._record(name)
        if record.value.webhook is None:
            raise NoSigningKey(f"'{name}' is of kind {record.value.kind}")
        return record.value, self._masking.signing_keys(record.value)

    async def resume(self, principal: Principal, name: str) -> int:
        """Forget that a channel failed and try what waits now; return how many messages that are.

        Raises:
            ChannelNotFound: there is no such channel.
        """
        principal.require(WRITE)
        await self._record(name)

        def work(conn: Connection) -> int:
            self._ledger.append(
                conn, actor=principal.id, action="resumed", kind="notification_channel", subject=name, details={}
            )
            return store.hurry(conn, name, self._clock.now())

        return await self._db.run(work)

    async def standings(self, principal: Principal) -> list[tuple[str, bool, Standing | None, Waiting]]:
        """Return how every channel fares, and what waits for it; also of those that only their messages still name."""
        principal.require(READ)
        known = {each.channel: each for each in await self._db.read(store.every_standing)}
        waiting = await self._db.read(store.backlog)
        channels = self._policy.every_channel()
        names = sorted({*channels, *(name for name, _ in waiting)})
        return [(name, name in channels and channels[name].value.enabled, known.get(name), waiting) for name in names]

    async def _record(self, name: str) -> Record[Channel]:
        record = await self._db.read(self._policy.channels.find, name)
        if record is None:
            raise ChannelNotFound(f"there is no notification channel {name[:64]!a}", key=ascii(name[:64]))
        return record
