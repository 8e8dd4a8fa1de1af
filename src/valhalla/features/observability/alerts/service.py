"""What people and programs do with alerts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.features.observability.alerts import grouping, store
from valhalla.features.observability.alerts.contracts import (
    LIFECYCLE,
    OWN_SOURCES,
    Alert,
    Filter,
    Outcome,
    Raised,
    Status,
)
from valhalla.features.observability.alerts.errors import NoSuchAlert
from valhalla.features.observability.alerts.intake import Intake
from valhalla.features.observability.alerts.policy import Policy
from valhalla.features.observability.alerts.recording import AT_ONCE, Recorder
from valhalla.features.observability.alerts.tables import alerts
from valhalla.features.observability.alerts.telling import note, tell
from valhalla.kernel import alerting
from valhalla.kernel.alerting import Severity
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Forbidden, Invalid, Unavailable
from valhalla.kit import lifecycle
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.paging import Page

CODE: Final = "valhalla"
MOST: Final = 10_000
"""How many alerts one bulk request changes."""


class AlertService:
    """Raises, shows, acknowledges and resolves alerts."""

    def __init__(
        self, db: Database, ledger: Ledger, policy: Policy, intake: Intake, recorder: Recorder, *, clock: Clock
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._policy = policy
        self._intake = intake
        self._recorder = recorder
        self._clock = clock

    def raise_(
        self,
        name: str,
        severity: Severity = "error",
        *,
        title: str | None = None,
        source: str = CODE,
        labels: Mapping[str, str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Leave an alert: from any thread, without waiting and without an error.

        Equal source, name and labels are one alert. ``context`` is kept of the latest; it is redacted. It is written
        within a second; what a crash finds in memory is lost.
        """
        told = {} if labels is None else {key: str(value) for key, value in labels.items()}
        self._intake.put(
            Raised(
                fingerprint=alerting.fingerprint(f"{source}/{name}", told),
                name=name,
                source=source,
                severity=severity,
                title=title or name,
                at=self._clock.now(),
                labels=told,
                context={} if context is None else {**context},
            )
        )

    def settle(self, name: str, *, source: str = CODE, labels: Mapping[str, str] | None = None) -> None:
        """Say that what was raised with this source, name and labels is over; as cheap as ``raise_``."""
        told = {} if labels is None else {key: str(value) for key, value in labels.items()}
        self._intake.put(
            Raised(
                fingerprint=alerting.fingerprint(f"{source}/{name}", told),
                name=name,
                source=source,
                severity="info",
                title=name,
                at=self._clock.now(),
                labels=told,
                resolves=True,
            )
        )

    async def standing(
        self, sources: Sequence[str], limit: int
    ) -> tuple[Mapping[tuple[Severity, Status], int], Sequence[Alert]]:
        """Return how many alerts of some sources are not over, by severity and status, and those opened last."""
        return await self._db.read(store.standing, sources, limit)

    async def drain(self) -> int:
        """Write what was left; return how many groups. What cannot be written is kept.

        Raises:
            Unavailable: the database cannot be reached.
        """
        groups = self._intake.take()
        for start in range(0, len(groups), AT_ONCE):
            try:
                await self._recorder.write(groups[start : start + AT_ONCE])
            except Unavailable:
                self._intake.give_back(groups[start:])
                raise
        return len(groups)

    async def report(
        self,
        principal: Principal,
        *,
        name: str,
        severity: Severity,
        title: str | None = None,
        source: str = "api",
        labels: Mapping[str, str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Alert | None:
        """Raise an alert and return it as it is now; None when a rule mutes it or waits for more of it.

        Raises:
            Forbidden: the principal may not write alerts, or the source is one of Valhalla's own.
        """
        principal.require("alerts:write")
        if source in OWN_SOURCES or source == CODE:
            raise Forbidden(f"the source '{source}' is Valhalla's own", source=source)
        fingerprint = alerting.fingerprint(f"{source}/{name}", labels)
        raised = Raised(
            fingerprint=fingerprint,
            name=name,
            source=source,
            severity=severity,
            title=title or name,
            at=self._clock.now(),
            labels=labels or {},
            context=context or {},
        )
        written = await self.take(principal, [raised])
        return written[0] if written else None

    async def take(self, principal: Principal, raised: Sequence[Raised]) -> list[Alert]:
        """Write occurrences that somebody sent; return the alerts as they are now.

        Raises:
            Forbidden: the principal may not write alerts.
        """
        principal.require("alerts:write")
        groups = list(grouping.fold(raised).values())
        self._intake.raised += sum(not one.resolves for one in raised)
        written: list[Alert] = []
        for start in range(0, len(groups), AT_ONCE):
            written += await self._recorder.write(groups[start : start + AT_ONCE])
        return written

    async def page(
        self, principal: Principal, wanted: Filter, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Alert]:
        """Return a page of alerts, those that were opened last first.

        Raises:
            Forbidden: the principal may not read alerts.
        """
        principal.require("alerts:read")
        return await self._db.read(store.page, wanted, cursor=cursor, limit=limit)

    async def get(self, principal: Principal, ref: str) -> Alert:
        """Return an alert by its id or fingerprint.

        Raises:
            Forbidden: the principal may not read alerts.
            NoSuchAlert: there is none.
        """
        principal.require("alerts:read")
        alert = await self._db.read(store.find, ref)
        if alert is None:
            raise NoSuchAlert(f"no alert has the id or fingerprint '{ref[:64]}'")
        return alert

    async def acknowledge(self, principal: Principal, ref: str, note: str | None = None) -> Alert:
        """Say that somebody looks after it: it escalates no more, and what comes is only counted.

        Raises:
            Forbidden: the principal may not write alerts.
            NoSuchAlert: there is none.
            IllegalTransition: it is acknowledged or resolved.
        """
        return await self._step(principal, ref, "acknowledged", note)

    async def resolve(self, principal: Principal, ref: str, note: str | None = None) -> Alert:
        """Say that it is over; if it happens again it is opened again.

        Raises:
            Forbidden: the principal may not write alerts.
            NoSuchAlert: there is none.
            IllegalTransition: it is resolved.
        """
        return await self._step(principal, ref, "resolved", note)

    async def _step(self, principal: Principal, ref: str, to: Status, said: str | None) -> Alert:
        principal.require("alerts:write")
        now = self._clock.now()

        def step(conn: Connection) -> Alert:
            found = store.find(conn, ref)
            if found is None:
                raise NoSuchAlert(f"no alert has the id or fingerprint '{ref[:64]}'")
            row = lifecycle.take(
                conn,
                LIFECYCLE,
                alerts,
                key=found.id,
                to=to,
                ledger=self._ledger,
                actor=principal.id,
                action=to,
                values=_values(to, principal, now, said),
                details={"name": found.name, **({"note": said} if said else {})},
            )
            alert = store.from_row(row)
            if to == "resolved":
                tell(conn, self._policy, [("resolved", alert)], now, details={"by": principal.id})
            return alert

        return await self._db.run(step)

    async def bulk(
        self, principal: Principal, to: Status, wanted: Filter, *, note: str | None = None, dry_run: bool = False
    ) -> Outcome:
        """Acknowledge or resolve every alert that fits, ``MOST`` at most; with ``dry_run`` only say which.

        It is done in steps: what was changed before a failure stays so, and the request can be sent again.

        Raises:
            Forbidden: the principal may not write alerts.
            Invalid: alerts cannot be moved to this status by people.
        """
        principal.require("alerts:write")
        if to not in ("acknowledged", "resolved"):
            raise Invalid("alerts are acknowledged or resolved")
        matched = await self._db.read(store.count, wanted)
        ids = await self._db.read(store.ids, wanted, LIFECYCLE.sources(to), MOST)
        if dry_run:
            return Outcome(matched=matched, changed=len(ids), ids=tuple(ids), dry_run=True)
        changed: list[str] = []
        for start in range(0, len(ids), AT_ONCE):
            changed += await self._db.run(self._move, principal, to, ids[start : start + AT_ONCE], note)
        return Outcome(matched=matched, changed=len(changed), ids=tuple(changed), dry_run=False)

    def _move(
        self, conn: Connection, principal: Principal, to: Status, ids: Sequence[str], said: str | None
    ) -> list[str]:
        now = self._clock.now()
        wanted: sa.ColumnElement[bool] = alerts.c.id.in_(ids)
        moved = store.move_many(conn, to, wanted, _values(to, principal, now, said))
        steps = [(str(to), alert, before) for alert, before in moved]
        note(conn, self._ledger, steps, actor=principal.id, details={"note": said} if said else None)
        if to == "resolved":
            tell(conn, self._policy, [(to, alert) for alert, _ in moved], now, details={"by": principal.id})
        return [alert.id for alert, _ in moved]

    def silenced_by(self) -> Callable[[Alert], tuple[str, ...]]:
        """Return what tells the silences that an alert is under now."""
        silences, now = self._policy.silenced, self._clock.now()
        return lambda alert: silences.over(alert, now)

    async def unresolved(self, principal: Principal, limit: int = MOST) -> Sequence[Alert]:
        """Return every alert that is not over, oldest first.

        Raises:
            Forbidden: the principal may not read alerts.
        """
        principal.require("alerts:read")
        return await self._db.read(store.unresolved, limit)


def _values(to: Status, principal: Principal, now: datetime, said: str | None) -> dict[str, Any]:
    values: dict[str, Any] = {f"{to}_at": now, f"{to}_by": principal.id, "escalate_at": None}
    if to == "resolved":
        values["ends_at"] = None
    return values if said is None else {**values, "note": said}
