"""The use case of maintenance: an operator sets the state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.engine import Connection

from valhalla.features.operations.maintenance.contracts import Mode, State
from valhalla.features.operations.maintenance.errors import BadState
from valhalla.features.operations.maintenance.records import KEY, Records
from valhalla.features.operations.maintenance.rules import FARTHEST
from valhalla.features.operations.maintenance.telling import tell
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Change

WRITE = "maintenance:write"


class MaintenanceService:
    """Sets the state."""

    def __init__(self, db: Database, records: Records, ledger: Ledger, *, clock: Clock) -> None:
        self._db = db
        self.records = records
        self._ledger = ledger
        self._clock = clock

    async def set(
        self,
        principal: Principal,
        mode: Mode,
        reason: str,
        *,
        until: datetime | None = None,
        check: Callable[[int | None], None] = lambda _: None,
        dry_run: bool = False,
    ) -> Change:
        """Set the mode; with ``until`` it ends by itself. ``normal`` ends a window that is under way.

        ``check`` is told the version that is there, ``None`` for none, and may refuse to replace it.

        Raises:
            Forbidden: the principal may not.
            BadState: ``until`` has no offset, has passed, or is more than a year away.
            PreconditionFailed: somebody else has set the state since it was read.
        """
        principal.require(WRITE)
        now = self._clock.now()
        state = State(mode, reason, principal.id, now, _until(until, now))

        def work(conn: Connection) -> Change:
            if not dry_run:
                self.records.state.lock(conn)
            before = self.records.state.find(conn, KEY)
            check(None if before is None else before.version)
            change = self.records.state.put(conn, KEY, state, actor=principal.id, reason=reason, dry_run=dry_run)
            if not dry_run:
                tell(conn, self.records, self._ledger, now, principal.id)
            return change

        return await self._db.run(work)


def _until(until: datetime | None, now: datetime) -> datetime | None:
    if until is None:
        return None
    if until.tzinfo is None:
        raise BadState("'until' has no offset from UTC: write 2026-11-30T18:00:00Z or +02:00")
    try:
        at = until.astimezone(UTC)
    except OverflowError as error:
        raise BadState("'until' is no time that can be") from error
    if at <= now:
        raise BadState("'until' has already passed")
    if at - now > FARTHEST:
        raise BadState(f"'until' is {FARTHEST.days} days away at most")
    return at
