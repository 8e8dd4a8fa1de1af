"""The use cases of recorded errors."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from valhalla.features.observability.failures import store
from valhalla.features.observability.failures.contracts import LIFECYCLE, Failure, Filter, Status
from valhalla.features.observability.failures.errors import NoSuchError
from valhalla.features.observability.failures.recorder import event
from valhalla.features.observability.failures.tables import error_events
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import NotFound
from valhalla.kit import lifecycle, paging
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit_many
from valhalla.kit.redact import text


class FailureService:
    """Lists errors and settles them."""

    def __init__(self, db: Database, ledger: Ledger, *, clock: Clock) -> None:
        self._db = db
        self._ledger = ledger
        self._clock = clock

    async def page(
        self, principal: Principal, wanted: Filter, *, limit: int, cursor: str | None
    ) -> paging.Page[Failure]:
        """Return errors that fit, the last to happen first. One that happens while you page moves to the front.

        Raises:
            Forbidden: the scope is missing.
            Invalid: the cursor was not made here.
        """
        principal.require("errors:read")
        return await paging.newest(
            lambda before, size: self._db.read(store.page, wanted, before=before, limit=size),
            lambda failure: (failure.last_at, failure.id),
            limit=limit,
            cursor=cursor,
        )

    async def get(self, principal: Principal, error_id: str) -> Failure:
        """Return one.

        Raises:
            NoSuchError: none has this id.
        """
        principal.require("errors:read")
        found = await self._db.read(store.find, error_id)
        if found is None:
            raise NoSuchError(f"no error has the id '{error_id[:64]}'")
        return found

    async def settle(self, principal: Principal, error_id: str, to: Status, note: str | None = None) -> Failure:
        """Resolve, mute or reopen one.

        Raises:
            NoSuchError: none has this id.
            IllegalTransition: it is so already.
        """
        principal.require("errors:write")
        note = None if note is None else text(note)
        try:
            return await self._db.run(self._settle, principal, error_id, to, note)
        except NotFound:
            raise NoSuchError(f"no error has the id '{error_id[:64]}'") from None

    def _settle(self, conn: Connection, principal: Principal, error_id: str, to: Status, note: str | None) -> Failure:
        settled = to != "open"
        row = lifecycle.take(
            conn,
            LIFECYCLE,
            error_events,
            key=error_id,
            to=to,
            ledger=self._ledger,
            actor=principal.id,
            values={
                "settled_at": self._clock.now() if settled else None,
                "settled_by": principal.id if settled else None,
                "note": note,
            },
            details={} if note is None else {"note": note},
        )
        failure = store.read(row)
        if settled:
            emit_many(conn, [event(f"error.{to}", failure)])
        return failure
