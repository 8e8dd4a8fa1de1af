"""What must not only wait: messages of broken channels are told by others, those of channels that are no more end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.features.data.notifications import composing, queue, store
from valhalla.features.data.notifications.contracts import Channel, Delivery
from valhalla.features.data.notifications.delivering.lane import Lane
from valhalla.features.data.notifications.policy import Policy
from valhalla.kernel.clock import Clock
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger

ACTOR: Final = "notifications"
_BATCH: Final = 200
_EVERY: Final = 5.0


class Tending:
    """Looks after what lanes cannot; only who leads does."""

    def __init__(self, db: Database, ledger: Ledger, policy: Policy, *, clock: Clock) -> None:
        self._db = db
        self._ledger = ledger
        self._policy = policy
        self._clock = clock
        self._looked = float("-inf")

    async def look(self, lanes: Mapping[str, Lane]) -> None:
        """Do what is due.

        Raises:
            Unavailable: the database cannot be reached.
        """
        channels = {name: record.value for name, record in self._policy.every_channel().items()}
        for name, channel in channels.items():
            lane = lanes.get(name)
            broken = not channel.enabled or (lane is not None and lane.circuit.is_broken)
            if broken:
                while await self._db.run(self._leave, name, channels) == _BATCH:
                    pass
        if self._clock.monotonic() - self._looked < _EVERY:
            return
        self._looked = self._clock.monotonic()
        for name in await self._db.read(queue.waiting):
            if name not in channels:
                while await self._db.run(self._bury, name, channels) == _BATCH:
                    pass

    def _leave(self, conn: Connection, name: str, channels: Mapping[str, Channel]) -> int:
        """Let others tell what waits for a broken channel; it goes on waiting, and comes late."""
        left = queue.leave(conn, name, self._clock.now(), _BATCH)
        self._instead(conn, left, channels)
        return len(left)

    def _bury(self, conn: Connection, name: str, channels: Mapping[str, Channel]) -> int:
        """End what waits for a channel that does not exist; it can be replayed when it does."""
        left = queue.bury(conn, name, "there is no such channel", self._clock.now(), _BATCH)
        if left:
            details = {"channel": name, "deliveries": len(left), "error": "there is no such channel"}
            self._ledger.append(
                conn, actor=ACTOR, action="dead", kind="notification_channel", subject=name, details=details
            )
        self._instead(conn, [each for each in left if not each.fell_back], channels)
        return len(left)

    def _instead(self, conn: Connection, left: list[Delivery], channels: Mapping[str, Channel]) -> None:
        now = self._clock.now()
        rows = [composing.standing_in(each, channels, now) for each in left]
        store.insert(conn, [row for row in rows if row is not None])
