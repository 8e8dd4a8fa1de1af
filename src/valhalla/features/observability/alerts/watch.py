"""What goes on behind alerts: writing what code left, escalating, ending what is no longer sent, counting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.features.observability.alerts import rules, store
from valhalla.features.observability.alerts.contracts import Alert
from valhalla.features.observability.alerts.policy import Policy
from valhalla.features.observability.alerts.service import AlertService
from valhalla.features.observability.alerts.tables import alerts
from valhalla.features.observability.alerts.telling import SYSTEM, note, tell
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of

_log = get_logger("alerts")
_PACE: Final = 0.25
_LOOK: Final = 5.0
_BATCH: Final = 100
_LAST: Final = 2.0
_REMEMBERED: Final = timedelta(hours=1)


class Watch:
    """One per process; of several processes each takes what no other is at."""

    def __init__(self, db: Database, ledger: Ledger, policy: Policy, service: AlertService, *, clock: Clock) -> None:
        self._db = db
        self._ledger = ledger
        self._policy = policy
        self._service = service
        self._clock = clock
        self.counts: Mapping[tuple[str, str], int] = {}
        self.last_error: str | None = None
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn, whatever came of it."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then write what is left. A lost database is waited for."""
        backoff = Backoff(0.5, 5.0)
        looked = float("-inf")
        while not stop.is_set():
            self.beat()
            try:
                await self._service.drain()
                if self._clock.monotonic() - looked >= _LOOK:
                    looked = self._clock.monotonic()
                    await self.look()
            except Exception as error:  # noqa: BLE001 - it outlives whatever it meets, and says so
                self.last_error = error.detail if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
                _log.warning("alerts cannot be written", error=self.last_error)
                await first_of(stop, seconds=backoff.next())
            else:
                self.last_error = None
                backoff.reset()
                await first_of(stop, seconds=_PACE)
        try:
            async with asyncio.timeout(_LAST):
                await self._service.drain()
        except (Unavailable, TimeoutError):
            _log.warning("alerts that were left last are lost")

    async def look(self) -> None:
        """Do everything that is due by the clock.

        Raises:
            Unavailable: the database cannot be reached.
        """
        while await self._db.run(self._end) == _BATCH:
            pass
        while await self._db.run(self._escalate) == _BATCH:
            pass
        self.counts = await self._db.read(store.counts)

    def _end(self, conn: Connection) -> int:
        """Resolve what nobody sends any more."""
        now = self._clock.now()
        late = store.overdue(conn, now, _BATCH)
        values = {"resolved_at": now, "resolved_by": SYSTEM, "escalate_at": None, "ends_at": None}
        # asked again: it may have been sent since
        still = sa.and_(alerts.c.id.in_(late), alerts.c.ends_at <= now)
        ended = store.move_many(conn, "resolved", still, values) if late else []
        why = {"reason": "no longer sent"}
        note(conn, self._ledger, [("resolved", alert, before) for alert, before in ended], details=why)
        tell(conn, self._policy, [("resolved", alert) for alert, _ in ended], now, details=why)
        return len(late)

    def _escalate(self, conn: Connection) -> int:
        now = self._clock.now()
        due = store.due(conn, now, _BATCH)
        if not due:
            return 0
        silences, ruleset = self._policy.silenced, self._policy.ruleset
        rows: list[dict[str, Any]] = []
        quiet: set[str] = set()
        for alert in due:
            rule = ruleset.for_name(alert.name)
            severity, next_at = rules.escalated(alert, rule, now)
            if silences.over(alert, now):
                # it has its whole time again: nobody was told of it meanwhile
                quiet.add(alert.id)
                severity, next_at = alert.severity, rules.escalates_at(alert.severity, rule, now)
            rows.append(_row(alert, severity, next_at, counted=alert.id not in quiet))
        loud = [alert for alert in store.escalate(conn, rows) if alert.id not in quiet]
        why = {"reason": "nobody acknowledged it"}
        note(conn, self._ledger, [("escalated", alert, None) for alert in loud], details=why)
        tell(conn, self._policy, [("escalated", alert) for alert in loud], now, details=why)
        return len(due)

    async def prune(self) -> int:
        """Forget events that nobody delivers again; return how many. Alerts that are over are retention's."""
        return await self._db.run(store.forget_events, self._clock.now() - _REMEMBERED)


def _row(alert: Alert, severity: str, next_at: Any, *, counted: bool) -> dict[str, Any]:
    return {
        "id": alert.id,
        "severity": severity,
        "escalate_at": None if next_at is None else next_at.isoformat(),
        "counted": int(counted),
    }
