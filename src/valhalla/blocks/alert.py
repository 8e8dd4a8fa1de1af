"""What one alert is, and how many are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Literal

from valhalla.kernel.alerting import SEVERITIES, Severity, worse
from valhalla.kernel.clock import isoformat
from valhalla.kit.redact import MAX_TEXT, redact, text

State = Literal["open", "acknowledged", "resolved"]


@dataclass(slots=True)
class Alert:
    """Everything that happened with one fingerprint since it was last resolved. Times are seconds since the epoch."""

    id: str
    fingerprint: str
    task: str
    reason: str
    severity: Severity
    context: dict[str, Any]
    first: float
    last: float
    count: int = 1
    state: State = "open"
    by: str | None = None
    note: str | None = None

    def repeat(self, reason: str, severity: Severity, context: dict[str, Any], at: float) -> bool:
        """Count one more; say whether it is worth telling: it got worse, or ten times as often and nobody knows yet."""
        self.count += 1
        self.last, self.reason, self.context = at, reason, context
        worst = worse(self.severity, severity)
        if worst != self.severity:
            # who acknowledged a warning has not seen the error
            self.severity, self.state = worst, "open"
            return True
        return self.state == "open" and self.count in _ROUND

    def record(self) -> dict[str, Any]:
        """Return it as callers see it: without secrets, which would cost whoever raises it more than all the rest."""
        return {
            "id": self.id,
            "timestamp": _instant(self.last),
            "task": text(self.task),
            "reason": text(self.reason),
            "severity": self.severity,
            "context": redact(self.context),
            "count": self.count,
            "first_seen": _instant(self.first),
            "fingerprint": self.fingerprint,
            "state": self.state,
            "by": self.by,
            "note": self.note,
        }


class Shelf:
    """Alerts by fingerprint, at most ``most``. When it is full what matters least goes, the longest silent first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self.forgotten = 0
        self._by: dict[Severity, OrderedDict[str, Alert]] = {severity: OrderedDict() for severity in SEVERITIES}
        self._done: OrderedDict[str, Alert] = OrderedDict()

    def __len__(self) -> int:
        return self._size

    def find(self, fingerprint: str) -> Alert | None:
        """Return the alert that is not resolved."""
        for shelf in self._by.values():
            if (alert := shelf.get(fingerprint)) is not None:
                return alert
        return None

    def by_id(self, id_: str) -> Alert | None:
        """Return an alert, also a resolved one."""
        return next((alert for alert in self.all() if alert.id == id_), None)

    def put(self, alert: Alert, before: Severity | None = None) -> None:
        """Keep an alert as the newest; ``before`` is the severity that it had."""
        if before is None:
            self._size += 1
        elif before == alert.severity:
            self._by[before].move_to_end(alert.fingerprint)
            return
        else:
            del self._by[before][alert.fingerprint]
        self._by[alert.severity][alert.fingerprint] = alert
        while self._size > self._most:
            self._drop()

    def resolve(self, alert: Alert) -> None:
        """Keep it as one of the past: the next of its kind is another."""
        del self._by[alert.severity][alert.fingerprint]
        self._done[alert.id] = alert

    def all(self) -> list[Alert]:
        """Return every alert, the longest silent first."""
        alerts = [*self._done.values(), *(alert for shelf in self._by.values() for alert in shelf.values())]
        return sorted(alerts, key=_last)

    def _drop(self) -> None:
        shelf = next(shelf for shelf in (self._done, *self._by.values()) if shelf)
        shelf.popitem(last=False)
        self._size -= 1
        self.forgotten += 1


def snapshot(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bounded copy of what an alert is about; what its owner does to it later changes nothing."""
    return {key: _kept(context[key]) for key in islice(context, _MEMBERS)}


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_TEXT]
    return value if value is None or isinstance(value, (bool, int, float)) else redact(value)


_MEMBERS: Final = 100
_ROUND: Final = frozenset(10**power for power in range(1, 13))


def _last(alert: Alert) -> float:
    return alert.last


def _instant(seconds: float) -> str:
    return isoformat(datetime.fromtimestamp(seconds, UTC))
