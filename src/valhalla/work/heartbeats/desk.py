"""What a control plane does with heartbeats for those who ask it, outside jobs above all."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from valhalla.kernel.principal import Principal
from valhalla.kit import notices, paging
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.work.errors import NoSuchHeartbeat
from valhalla.work.heartbeats import store
from valhalla.work.heartbeats.contracts import Heartbeat, Promise, Sign


class HeartbeatDesk:
    """Everything that says that it lives. Every method may raise ``Unavailable``."""

    def __init__(self, db: Database, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger

    async def page(self, *, limit: int, cursor: str | None) -> paging.Page[Heartbeat]:
        """Return sources by name.

        Raises:
            Invalid: the cursor is not one of this list.
        """
        position = paging.decode(cursor)
        after = None if position is None else paging.text(position, "name")
        found = await self._db.read(store.page, after=after, limit=limit + 1)
        items = found[:limit]
        return paging.Page(items, paging.encode({"name": items[-1].name}) if len(found) > limit else None)

    async def read(self, name: str) -> Heartbeat:
        """Return one source.

        Raises:
            NoSuchHeartbeat: nobody expects it.
        """
        return await self._db.read(store.read, name)

    async def expect(self, principal: Principal, name: str, promise: Promise) -> Heartbeat:
        """Expect a source from now on, or change what it promises.

        Raises:
            Invalid: the name or the times make no sense.
        """
        return await self._db.run(self._expect, principal, name, promise)

    async def sign(
        self, principal: Principal, name: str, sign: Sign, *, promise: Promise | None, reason: str = ""
    ) -> Heartbeat:
        """Take a sign of life, of a beginning or of a failure; a ``promise`` declares a source that nobody expects.

        Raises:
            NoSuchHeartbeat: nobody expects it, and it promises nothing.
            Invalid: the name or the times make no sense.
        """

        def work(conn: Connection) -> Heartbeat:
            try:
                _take(conn, name, sign, reason)
            except NoSuchHeartbeat:
                if promise is None:
                    raise
                self._expect(conn, principal, name, promise)
                _take(conn, name, sign, reason)
            return store.read(conn, name)

        return await self._db.run(work)

    async def forget(self, principal: Principal, name: str) -> None:
        """Expect a source no longer; a living part of a control plane is expected again by it.

        Raises:
            NoSuchHeartbeat: nobody did.
        """

        def work(conn: Connection) -> None:
            store.forget(conn, name)
            self._note(conn, principal, "heartbeat.forgotten", name)

        await self._db.run(work)

    def _expect(self, conn: Connection, principal: Principal, name: str, promise: Promise) -> Heartbeat:
        store.expect(conn, name, interval=promise.interval, timeout=promise.silence, grace=promise.grace)
        self._note(conn, principal, "heartbeat.expected", name, interval=promise.interval, timeout=promise.silence)
        return store.read(conn, name)

    def _note(self, conn: Connection, principal: Principal, action: str, name: str, **details: object) -> None:
        self._ledger.append(conn, actor=principal.id, action=action, kind="heartbeat", subject=name, details=details)
        notices.tell(conn, notices.HEARTBEATS)


def _take(conn: Connection, name: str, sign: Sign, reason: str) -> None:
    match sign:
        case "alive":
            store.beat(conn, name)
        case "start":
            store.start(conn, name)
        case "fail":
            store.fail(conn, name, reason)
