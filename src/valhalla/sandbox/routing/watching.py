"""How lanes are, and who is told: those that are read and lag, what was given up, ingresses that were late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.kernel.clock import Clock
from valhalla.kit import outbox
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.kit.outbox.tables import events
from valhalla.sandbox import store
from valhalla.sandbox.contracts import LaneHealth
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import BOTS_STREAM, DEAD_STREAM, STREAM
from valhalla.sandbox.routing.lags import Lag, beside_bots, lag_of, oldest_unread
from valhalla.sandbox.routing.lanes import counts
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.teardown import emit

_log = get_logger("sandbox.routing.watching")


class Watch:
    """Remembers what was told in this process. ``patience`` is the age from which an unread event is a lag."""

    def __init__(
        self, db: Database, claims: Claims, clock: Clock, *, patience: timedelta, quota: int, byte_quota: int
    ) -> None:
        self._db = db
        self._claims = claims
        self._clock = clock
        self._patience = patience
        self._quota = quota
        self._byte_quota = byte_quota
        self._trimmed: set[str] = set()
        self.weight: Callable[[str], int] = lambda _: 0
        """Says how many bytes a lane holds, as last seen."""
        self._lagging: set[str] = set()
        self._remembers = False
        self.unread = 0
        self.oldest = 0.0
        """Seconds that the oldest unread event of a lane that is read has waited, as last seen."""

    @property
    def lagging(self) -> int:
        """How many lanes are read and lag, as last seen."""
        return len(self._lagging)

    async def health(self, sandbox: str) -> LaneHealth:
        """Say how one lane is.

        Raises:
            Unavailable: NATS does not answer.
        """
        link, _ = await self._claims.connected()
        lag = await lag_of(link, sandbox)
        oldest = await oldest_unread(link, sandbox, lag)
        age = None if oldest is None else max(0.0, (self._clock.now() - oldest).total_seconds())
        return LaneHealth(
            events=sum((await counts(link, STREAM, f"{subjects.lane(sandbox)}.>")).values()),
            quota=self._quota,
            bytes=self.weight(sandbox),
            byte_quota=self._byte_quota,
            waiting=lag.waiting,
            unacknowledged=lag.unacknowledged,
            redelivered=lag.redelivered,
            dead_letters=sum((await counts(link, DEAD_STREAM, f"{subjects.DEAD}.s.{sandbox}.>")).values()),
            oldest_unread_seconds=age,
            is_read=lag.is_read,
            is_lagging=lag.is_read and age is not None and age >= self._patience.total_seconds(),
        )

    async def look(self, link: Link, lags: Mapping[str, Lag]) -> None:
        """Look at all lanes, and tell of those that lag now or do no more.

        Raises:
            Unavailable: a backend does not answer.
        """
        if not self._remembers:
            # what was told before this process began and is over since then
            self._lagging |= await self._db.read(_told_of)
            self._remembers = True
        bots = {subject.split(".")[1] for subject in await counts(link, BOTS_STREAM, f"{subjects.BOTS}.>")}
        lags = {
            sandbox: await beside_bots(link, sandbox, lag) if sandbox in bots else lag for sandbox, lag in lags.items()
        }
        now, oldest, lagging = self._clock.now(), 0.0, dict[str, float]()
        for sandbox, lag in lags.items():
            # a sandbox that only listens acknowledges nothing, and is not late
            if not lag.is_read or not lag.unread:
                continue
            at = await oldest_unread(link, sandbox, lag)
            age = 0.0 if at is None else (now - at).total_seconds()
            oldest = max(oldest, age)
            if age >= self._patience.total_seconds():
                lagging[sandbox] = age
        self.unread, self.oldest = sum(lag.unread for lag in lags.values()), oldest
        for sandbox in lagging.keys() - self._lagging:
            data = {"seconds": round(lagging[sandbox]), "unread": lags[sandbox].unread}
            _log.warning("a lane lags", sandbox_id=sandbox, **data)
            await self._db.run(_of_sandbox, sandbox, "lane.lagging", data)
        for sandbox in self._lagging - lagging.keys():
            await self._db.run(_of_sandbox, sandbox, "lane.recovered", {})
        self._lagging = set(lagging)
        await self._late()

    async def trimmed(self, removed: Mapping[str, int]) -> None:
        """Tell of lanes whose oldest events went, for each once until a look finds it within its quota.

        Raises:
            Unavailable: Postgres does not answer.
        """
        for sandbox in removed.keys() - self._trimmed:
            await self._db.run(_of_sandbox, sandbox, "lane.trimmed", {"removed": removed[sandbox]})
        self._trimmed = set(removed)

    async def dead(self, sandbox: str, letters: int, reason: str) -> None:
        """Tell that a sandbox could not work on events.

        Raises:
            Unavailable: Postgres does not answer.
        """
        await self._db.run(_of_sandbox, sandbox, "lane.dead_letters", {"letters": letters, "reason": reason})

    async def _late(self) -> None:
        late = self._claims.late
        while late:
            ingress, outcome = late[0]
            await self._db.run(_of_ingress, ingress, outcome)
            late.popleft()


def _told_of(conn: Connection) -> set[str]:
    """Return the sandboxes of which it was told last that their lanes lag, as far as domain events are kept."""
    told = sa.select(events.c.subject, events.c.type).where(events.c.type.in_(("lane.lagging", "lane.recovered")))
    newest = {row.subject: row.type for row in conn.execute(told.order_by(events.c.id))}
    return {subject.removeprefix("sandbox.") for subject, kind in newest.items() if kind == "lane.lagging"}


def _of_sandbox(conn: Connection, sandbox_id: str, event: str, data: Mapping[str, Any]) -> None:
    sandbox = store.find(conn, sandbox_id)
    if sandbox is not None:
        emit(conn, sandbox, event, **data)


def _of_ingress(conn: Connection, ingress: str, outcome: str) -> None:
    # the last part of an ingress's id is drawn anew at each start
    name = ingress.rpartition("-")[0] or ingress
    data = {"ingress": name, "id": ingress, "outcome": outcome}
    outbox.emit(conn, subject=f"ingress.{name}", type="claim.late", data=data)
