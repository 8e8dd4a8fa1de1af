"""One subscriber to alerts: a thread and a bounded queue of its own, so that it delays nobody."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from valhalla.kernel.alerting import Pattern, Severity, reaches
from valhalla.kit.log import get_logger

_log = get_logger("blocks.alerts")
_QUEUE: Final = 1000
# an idle thread ends after so many seconds; the next alert starts another
_LINGER: Final = 5.0


class Subscription:
    """Calls ``callback`` with the record of each alert that fits, one after the other. ``unsubscribe`` ends it."""

    def __init__(
        self,
        pattern: str,
        callback: Callable[[dict[str, Any]], object],
        minimum: Severity,
        leave: Callable[[Subscription], object],
    ) -> None:
        self.pattern, self.callback = Pattern(pattern), callback
        self.minimum: Severity = minimum
        self._leave = leave
        self._condition = threading.Condition()
        # the newest record of each alert: who is slow hears once what happened often
        self._waiting: OrderedDict[str, Callable[[], dict[str, Any]]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._busy = self._closed = False
        self.delivered = self.failed = self.dropped = 0

    def wants(self, task: str, severity: Severity) -> bool:
        """Say whether such an alert is told to this subscriber."""
        return reaches(severity, self.minimum) and self.pattern.matches(task)

    def tell(self, id_: str, record: Callable[[], dict[str, Any]]) -> None:
        """Queue an alert; ``record`` is called when its turn comes. The oldest goes when too many wait."""
        with self._condition:
            if self._closed:
                return
            self._waiting[id_] = record
            if len(self._waiting) > _QUEUE:
                self._waiting.popitem(last=False)
                self.dropped += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="valhalla-alerts", daemon=True)
                self._thread.start()
            elif not self._busy:
                self._condition.notify_all()

    def flush(self, until: float) -> bool:
        """Wait until nothing waits any more, or ``time.monotonic()`` is ``until``."""
        with self._condition:
            while self._waiting or self._busy:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._condition.wait(left)
        return True

    def unsubscribe(self) -> None:
        """Hear nothing more; what waits is dropped."""
        self._leave(self)
        with self._condition:
            self._closed = True
            self._waiting.clear()
            self._condition.notify_all()

    def _run(self) -> None:
        while (record := self._next()) is not None:
            try:
                self.callback(record())
            except BaseException as error:  # noqa: BLE001 - a subscriber that fails ends neither itself nor others
                self.failed += 1
                _log.warning("a subscriber to alerts failed", error=f"{type(error).__name__}: {error}")
            else:
                self.delivered += 1

    def _next(self) -> Callable[[], dict[str, Any]] | None:
        with self._condition:
            self._busy = False
            self._condition.notify_all()
            if not self._waiting and not self._closed:
                self._condition.wait_for(lambda: self._waiting or self._closed, _LINGER)
            if not self._waiting:
                self._thread = None
                return None
            self._busy = True
            return self._waiting.popitem(last=False)[1]
