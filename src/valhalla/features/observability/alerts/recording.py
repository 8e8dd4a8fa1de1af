"""Groups to rows: one transaction locks, decides, writes and tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.observability.alerts import rules, store
from valhalla.features.observability.alerts.contracts import Alert, Limits, Raised
from valhalla.features.observability.alerts.grouping import OVERFLOW, Group, fold, merge, overflow, spill
from valhalla.features.observability.alerts.policy import Policy
from valhalla.features.observability.alerts.rules import Governed, Thresholds
from valhalla.features.observability.alerts.tables import alerts
from valhalla.features.observability.alerts.telling import SYSTEM, note, tell
from valhalla.kernel.alerting import rank
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kit import redact
from valhalla.kit.db import Database
from valhalla.kit.json import dumps, dumps_text
from valhalla.kit.ledger import Ledger

# as many subjects are locked for their events, and the server's table of locks is shared by all
AT_ONCE: Final = 250
_MINUTE: Final = timedelta(minutes=1)
_CONTEXT: Final = 16_384
_MOST_LOOKED_AT: Final = 4 * _CONTEXT
_TITLE: Final = 500


class Recorder:
    """Writes what was raised. Counters are of this process."""

    def __init__(self, db: Database, ledger: Ledger, policy: Policy, *, clock: Clock, limits: Limits) -> None:
        self._db = db
        self._ledger = ledger
        self._policy = policy
        self._clock = clock
        self._limits = limits
        self._thresholds = Thresholds()
        self.muted = 0
        self.overflowed = 0

    async def write(self, groups: Sequence[Group]) -> list[Alert]:
        """Write up to ``AT_ONCE`` groups, all or none; return the alerts as they are now.

        Raises:
            Unavailable: the database cannot be reached.
        """
        governed = self._governed(groups)
        return await self._db.run(self.record, governed) if governed else []

    async def write_events(self, raised: Sequence[tuple[int, Raised]]) -> None:
        """Write what events mean, each event once however often it comes.

        Raises:
            Unavailable: the database cannot be reached.
        """
        for start in range(0, len(raised), AT_ONCE):
            await self._db.run(self._record_events, raised[start : start + AT_ONCE])

    def _record_events(self, conn: Connection, raised: Sequence[tuple[int, Raised]]) -> None:
        fresh = store.remember(conn, sorted({event_id for event_id, _ in raised}), self._clock.now())
        groups = fold(one for event_id, one in raised if event_id in fresh)
        self.record(conn, self._governed(groups.values()))

    def _governed(self, groups: Iterable[Group]) -> list[Governed]:
        merged = merge(groups).values()
        kept, muted = rules.govern(merged, self._policy.ruleset, self._thresholds, self._clock.now())
        self.muted += muted
        return kept

    def record(self, conn: Connection, governed: Sequence[Governed]) -> list[Alert]:
        """Write governed groups of different fingerprints in the caller's transaction."""
        if not governed:
            return []
        now = self._clock.now()
        raised = [one for one in governed if one.group.count]
        spills = {one.group.source: overflow(one.group.source, one.group.severity, now) for one in raised}
        known = store.locked(
            conn, [*(one.group.fingerprint for one in governed), *(group.fingerprint for group in spills.values())]
        )
        rows = [_row(one, now) for one in self._with_room(conn, raised, known, spills, now)]
        steps: list[tuple[str, Alert, str | None]] = []
        written: dict[str, Alert] = {}
        for alert, inserted in store.upsert(conn, rows) if rows else ():
            written[alert.fingerprint] = alert
            before = known.get(alert.fingerprint)
            if (action := _action(alert, before, inserted=inserted)) is not None:
                steps.append((action, alert, None if before is None else before["status"]))
        if over := [one.group.fingerprint for one in governed if one.group.ended]:
            for alert, before in self._end(conn, over, now):
                written[alert.fingerprint] = alert
                steps.append(("resolved", alert, before))
        note(conn, self._ledger, steps)
        tell(conn, self._policy, [(action, alert) for action, alert, _ in steps], now, details={})
        return list(written.values())

    def _end(self, conn: Connection, fingerprints: Sequence[str], now: datetime) -> list[tuple[Alert, str]]:
        values = {"resolved_at": now, "resolved_by": SYSTEM, "escalate_at": None, "ends_at": None}
        return store.move_many(conn, "resolved", alerts.c.fingerprint.in_(fingerprints), values)

    def _with_room(
        self,
        conn: Connection,
        raised: Sequence[Governed],
        known: Mapping[str, Any],
        spills: dict[str, Group],
        now: datetime,
    ) -> list[Governed]:
        """Return what may be written as itself, and the overflow of the rest."""
        fresh = [one for one in raised if one.group.fingerprint not in known]
        if not fresh:
            return list(raised)
        crowds = store.crowds(conn, sorted({one.group.source for one in fresh}), now - _MINUTE)
        left = {
            source: rules.room(
                open_now=open_now,
                opened_lately=lately,
                most_open=self._limits.open,
                most_lately=self._limits.opened_per_minute,
            )
            for source, (open_now, lately) in crowds.items()
        }
        kept: dict[str, Governed] = {}
        spilled: dict[str, Group] = {}
        for one in raised:
            source = one.group.source
            if one.group.fingerprint in known or one.group.name == OVERFLOW:
                kept[one.group.fingerprint] = one
            elif left[source] > 0:
                left[source] -= 1
                kept[one.group.fingerprint] = one
            else:
                spill(spilled.setdefault(source, spills[source]), one.group)
                self.overflowed += one.group.count
        for group in spilled.values():
            if (already := kept.get(group.fingerprint)) is not None:
                already.group.join(group)
            else:
                due = rules.escalates_at(group.severity, self._policy.ruleset.for_name(group.name), now)
                kept[group.fingerprint] = Governed(group, due)
        return list(kept.values())


def _action(alert: Alert, before: RowMapping | None, *, inserted: bool) -> str | None:
    if inserted:
        return "opened"
    if before is None:
        # another process wrote it first, and told it
        return None
    if before["status"] == "resolved":
        return "reopened"
    worse = rank(alert.severity) > rank(before["severity"])
    return "escalated" if before["status"] == "acknowledged" and worse else None


def _row(one: Governed, now: datetime) -> dict[str, Any]:
    group = one.group
    return {
        "id": new_id(),
        "fingerprint": group.fingerprint,
        "name": redact.text(group.name, limit=200),
        "source": redact.text(group.source, limit=100),
        "severity": group.severity,
        "title": redact.text(group.title, limit=_TITLE),
        "labels": redact.redact(group.labels),
        "context": bounded(group.context),
        "count": group.count,
        "first_at": group.first_at.isoformat(),
        "opened_at": now.isoformat(),
        "last_at": group.last_at.isoformat(),
        "starts_at": (group.starts_at or group.first_at).isoformat(),
        "ends_at": None if group.ends_at is None else group.ends_at.isoformat(),
        "escalate_at": None if one.escalate_at is None else one.escalate_at.isoformat(),
    }


def bounded(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return a context without secrets that is small enough to keep for each of thousands of alerts."""
    if _size(context) > _MOST_LOOKED_AT:
        # looking for secrets in megabytes would hold up everybody: what stands on top says most
        context = {key: value[:200] if isinstance(value, str) else value for key, value in _plain(context)}
        return {**redact.redact(context), "truncated": True}
    told: Any = redact.redact(context)
    if len(dumps(told)) <= _CONTEXT:
        return told
    return {"truncated": True, "text": dumps_text(told)[: _CONTEXT // 4]}


def _size(context: Mapping[str, Any]) -> int:
    try:
        return len(dumps(context))
    except (TypeError, ValueError, RecursionError):
        # not plain JSON: redaction makes it so, and has bounds of its own
        return 0


def _plain(context: Mapping[str, Any]) -> list[tuple[str, Any]]:
    flat = [(key[:200], value) for key, value in context.items() if isinstance(value, (str, int, float, bool))]
    return flat[:50]
