"""``AlertSystem``: what a person should know, once, however often it happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from valhalla.blocks.alert import Alert, Shelf, snapshot
from valhalla.blocks.errors import NoSuchAlert, TooManySubscribers
from valhalla.blocks.subscription import Subscription
from valhalla.kernel.alerting import SEVERITIES, Severity, check_severity, fingerprint, rank, reaches, shape
from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Invalid

# what nobody has heard of is rather too bad than too harmless
_UNKNOWN: Final[Severity] = "error"
_SUBSCRIBERS: Final = 100
_NAME: Final = 200
_REASON: Final = 1000


class AlertSystem:
    """Groups alerts of one task whose reasons differ in ids and long numbers only; tells subscribers in their threads.

    A subscriber hears of an alert when it is new, when it gets worse, and at its 10th, 100th, 1,000th … occurrence.
    """

    SEVERITY_LEVELS: ClassVar[Mapping[str, int]] = {severity: rank(severity) for severity in SEVERITIES}

    def __init__(self, *, keep: int = 1000) -> None:
        """``keep`` is how many alerts are remembered; when there are more, the least severe go first.

        Raises:
            Invalid: it is not above zero.
        """
        if keep < 1:
            raise Invalid("keep must be above zero")
        self._shelf = Shelf(keep)
        self._lock = threading.Lock()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._prefix = new_id()[:9]
        self.total = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Return how many alerts are remembered."""
        return len(self._shelf)

    @property
    def forgotten(self) -> int:
        """How many alerts had to make room for others."""
        return self._shelf.forgotten

    def alert(
        self,
        task_name: str,
        reason: str,
        severity: str = "warning",
        context: Mapping[str, Any] | None = None,
        *,
        fingerprint: str | None = None,
    ) -> str:
        """Raise an alert and return its id; a repetition counts and has the id of the first.

        An unknown severity counts as ``error``: who raises an alert must not fail over it. Nobody is shown a secret.
        ``fingerprint`` says what counts as the same; without it the task and the shape of the reason do.
        """
        level = severity if severity in self.SEVERITY_LEVELS else _UNKNOWN
        found = snapshot(context) if isinstance(context, Mapping) else {}
        if level != severity:
            found["severity_given"] = str(severity)[:50]
        name, said = str(task_name)[:_NAME], str(reason)[:_REASON]
        return self._raise(fingerprint or _same(name, said), name, said, check_severity(level), found)

    def _raise(self, same: str, name: str, reason: str, severity: Severity, context: dict[str, Any]) -> str:
        now = time.time()
        with self._lock:
            self.total += 1
            alert = self._shelf.find(same)
            if alert is None:
                alert = Alert(f"{self._prefix}{self.total:07x}", same, name, reason, severity, context, now, now)
                self._shelf.put(alert)
                tell = True
            else:
                before = alert.severity
                tell = alert.repeat(reason, severity, context, now)
                self._shelf.put(alert, before)
            worst = alert.severity
        if tell:
            for subscription in self._subscriptions:
                if subscription.wants(name, worst):
                    subscription.tell(alert.id, lambda: self._record(alert))
        return alert.id

    def _record(self, alert: Alert) -> dict[str, Any]:
        with self._lock:
            return alert.record()

    def acknowledge(self, alert_id: str, *, by: str, note: str | None = None) -> dict[str, Any]:
        """Say that somebody takes care; it is told again only when it gets worse.

        Raises:
            NoSuchAlert: it is not known (any more).
        """
        return self._settle(alert_id, by, note, resolved=False)

    def resolve(self, alert_id: str, *, by: str, note: str | None = None) -> dict[str, Any]:
        """Say that it is over: the next of its kind is a new alert.

        Raises:
            NoSuchAlert: it is not known (any more).
        """
        return self._settle(alert_id, by, note, resolved=True)

    def _settle(self, id_: str, by: str, note: str | None, *, resolved: bool) -> dict[str, Any]:
        with self._lock:
            alert = self._shelf.by_id(id_)
            if alert is None:
                raise NoSuchAlert(f"there is no alert {id_[:50]}")
            if alert.state != "resolved":
                alert.by, alert.note = by, note
                alert.state = "resolved" if resolved else "acknowledged"
                if resolved:
                    self._shelf.resolve(alert)
            return alert.record()

    def subscribe(
        self, event_type: str, callback: Callable[[dict[str, Any]], object], *, minimum: str = "info"
    ) -> Subscription:
        """Call ``callback`` with the records of alerts of a task, or of a pattern such as ``payment.*`` or ``*``.

        It is called in a thread of its own: however slow it is, nobody waits for it.

        Raises:
            Invalid: the pattern or the severity is none.
            TooManySubscribers: 100 listen already.
        """
        subscription = Subscription(event_type, callback, check_severity(minimum), self._leave)
        with self._lock:
            if len(self._subscriptions) >= _SUBSCRIBERS:
                raise TooManySubscribers(f"{_SUBSCRIBERS} subscribers listen already")
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def _leave(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions = tuple(one for one in self._subscriptions if one is not subscription)

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until the subscribers have heard everything; ``False`` if they have not after ``timeout`` seconds."""
        until = time.monotonic() + timeout
        return all(subscription.flush(until) for subscription in self._subscriptions)

    def close(self, timeout: float = 0.05) -> None:
        """Give subscribers a last moment, and end them."""
        self.flush(timeout)
        for subscription in self._subscriptions:
            subscription.unsubscribe()

    def get_alerts(
        self,
        severity: str | None = None,
        task_name: str | None = None,
        limit: int = 100,
        *,
        minimum: str = "info",
        state: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the newest ``limit`` alerts that fit, oldest first.

        Raises:
            Invalid: a severity is none, or the limit is negative.
        """
        if limit < 0:
            raise Invalid("the limit must not be negative")
        only, least = None if severity is None else check_severity(severity), check_severity(minimum)
        with self._lock:
            found = [
                alert
                for alert in self._shelf.all()
                if only in (None, alert.severity)
                and reaches(alert.severity, least)
                and task_name in (None, alert.task)
                and state in (None, alert.state)
            ]
            return [alert.record() for alert in found[len(found) - min(limit, len(found)) :]]


@lru_cache(maxsize=1024)
def _same(name: str, reason: str) -> str:
    return fingerprint(name, {"reason": shape(reason)})
