"""``SchedulerHeartbeat``: who is alive, said by those who are, and who has fallen silent."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, Self

from valhalla.blocks.errors import TooManySources
from valhalla.kernel.clock import isoformat
from valhalla.kernel.problems import Invalid
from valhalla.kit.log import get_logger

Pulse = Literal["waiting", "alive", "missed"]
_log = get_logger("blocks.heartbeat")
_SOURCES: Final = 1000
_HISTORY: Final = 100


@dataclass(slots=True)
class _Source:
    """``since`` is when it was first expected; both instants are on a clock that never jumps."""

    timeout: float
    since: float
    last: float | None = None
    missed: bool = False


class SchedulerHeartbeat:
    """Watches sources that call ``beat(name)`` themselves. Healthy: it runs, and every source spoke in its time.

    >>> heartbeat.expect("nightly-export", timeout=90_000)
    """

    def __init__(
        self,
        interval: float = 10.0,
        timeout: float = 30.0,
        *,
        on_missed: Callable[[str, float], object] | None = None,
        on_recovered: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Every ``interval`` seconds it looks who was silent for ``timeout``, unless the source has one of its own.

        ``on_missed`` is called with a name and the seconds of its silence, once per silence; ``on_recovered`` with
        the name.

        Raises:
            Invalid: a number is not above zero.
        """
        if not (interval > 0 and timeout > 0):
            raise Invalid("interval and timeout must be above zero")
        self.interval, self.timeout = interval, timeout
        self._on_missed, self._on_recovered, self._clock = on_missed, on_recovered, clock
        self._sources: dict[str, _Source] = {}
        self._checks: deque[dict[str, Any]] = deque(maxlen=_HISTORY)
        self._total = 0
        self._looked: float | None = None
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None
        self._wake = threading.Event()
        self._pid = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether somebody watches; a fork of the process has no watch."""
        return self._stop is not None and self._pid == os.getpid()

    @property
    def health_checks(self) -> list[dict[str, Any]]:
        """What the last hundred looks found, oldest first."""
        with self._lock:
            return [dict(check) for check in self._checks]

    def start(self) -> None:
        """Begin to watch; sources have their whole time from now on. Does nothing if it runs."""
        with self._lock:
            if self.is_running:
                return
            now = self._clock()
            for source in self._sources.values():
                source.since, source.last, source.missed = now, None, False
            self._stop, self._pid = threading.Event(), os.getpid()
            self._looked = now
            thread = threading.Thread(target=self._run, args=(self._stop,), name="valhalla-heartbeat", daemon=True)
        thread.start()

    def stop(self) -> None:
        """Watch no more: from now on it is not healthy."""
        with self._lock:
            stop, self._stop = self._stop, None
        if stop is not None:
            stop.set()
            self._wake.set()

    # -- the watched ---------------------------------------------------------------------------------------------------

    def expect(self, name: str, timeout: float | None = None) -> None:
        """Expect a source: silent for ``timeout`` seconds from now on, it is missed, also if it never begins.

        Raises:
            Invalid: the time is not above zero.
            TooManySources: 1,000 are watched.
        """
        seconds = self.timeout if timeout is None else timeout
        if not seconds > 0:
            raise Invalid("the timeout must be above zero")
        with self._lock:
            self._add(name, seconds)
        # its time may be shorter than the watch sleeps
        self._wake.set()

    def forget(self, name: str) -> None:
        """Expect a source no longer, if anybody does."""
        with self._lock:
            self._sources.pop(name, None)

    def beat(self, name: str = "scheduler") -> None:
        """Say that ``name`` is alive; called by the watched thing itself, from any thread.

        Raises:
            TooManySources: nobody expects it, and 1,000 are watched.
        """
        source = self._sources.get(name)
        if source is None:
            with self._lock:
                source = self._add(name, self.timeout)
        source.last = self._clock()

    def _add(self, name: str, timeout: float) -> _Source:
        if name not in self._sources and len(self._sources) >= _SOURCES:
            raise TooManySources(f"{_SOURCES} sources are watched; '{name[:50]}' is one too many")
        source = self._sources[name] = _Source(timeout, self._clock())
        return source

    # -- the watch -----------------------------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """Look now, and return the names of those that are silent for too long."""
        now = self._clock()
        late: list[tuple[str, float]] = []
        back: list[str] = []
        with self._lock:
            for name, source in self._sources.items():
                silent = now - (source.since if source.last is None else source.last)
                if silent <= source.timeout:
                    back += [name] if source.missed else []
                    source.missed = False
                elif not source.missed:
                    source.missed = True
                    late.append((name, silent))
            missed = [name for name, source in self._sources.items() if source.missed]
            self._looked = now
            self._total += 1
            status = "missed" if missed else "healthy"
            self._checks.append({"timestamp": _now(), "status": status, "missed": missed[:20]})
        for name, silent in late:
            _log.warning("a source is silent", source=name, seconds=round(silent, 1))
            self._tell(self._on_missed, name, silent)
        for name in back:
            _log.info("a source is back", source=name)
            self._tell(self._on_recovered, name)
        return missed

    def _tell(self, listener: Callable[..., object] | None, *args: object) -> None:
        if listener is not None:
            try:
                listener(*args)
            except Exception:  # noqa: BLE001 - the watch goes on whatever its listeners do
                _log.exception("a listener to heartbeats failed")

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.check()
            self._wake.wait(self._pause())
            self._wake.clear()

    def _pause(self) -> float:
        # somebody's time may be shorter than the interval
        with self._lock:
            shortest = min((source.timeout for source in self._sources.values()), default=self.timeout)
        return max(0.01, min(self.interval, shortest / 2))

    # -- what is known -------------------------------------------------------------------------------------------------

    def is_healthy(self) -> bool:
        """Say whether it watches, and nobody is silent for too long at this moment."""
        return self.reason() is None

    def reason(self) -> str | None:
        """Return why it is not healthy; ``None`` if it is."""
        if not self.is_running:
            return "nobody watches: the heartbeat does not run"
        now = self._clock()
        with self._lock:
            unwell = [name for name, source in self._sources.items() if _pulse(source, now) != "alive"]
        if self._looked is None or now - self._looked > max(self.timeout, 3 * self.interval):
            return "the watch itself is silent"
        return f"silent: {', '.join(sorted(unwell)[:20])}" if unwell else None

    def get_health_status(self) -> dict[str, Any]:
        """Return what is known: also each source's ``status`` and ``seconds_since``.

        ``last_heartbeat`` and ``seconds_since_heartbeat`` are those of the source that was silent longest, or of the
        watch itself if it has no source.
        """
        running, healthy, reason = self.is_running, self.is_healthy(), self.reason()
        now = self._clock()
        with self._lock:
            sources = {name: _shown(source, now) for name, source in self._sources.items()}
            lasts = [source.last for source in self._sources.values()] or [self._looked]
            total = self._total
        age = None if any(last is None for last in lasts) else now - min(last for last in lasts if last is not None)
        return {
            "is_running": running,
            "is_healthy": healthy,
            "last_heartbeat": None if age is None else isoformat(datetime.fromtimestamp(time.time() - age, UTC)),
            "seconds_since_heartbeat": age,
            "total_checks": total,
            "reason": reason,
            "sources": sources,
        }


def _pulse(source: _Source, now: float) -> Pulse:
    if source.last is None:
        return "waiting" if now - source.since <= source.timeout else "missed"
    return "alive" if now - source.last <= source.timeout else "missed"


def _shown(source: _Source, now: float) -> dict[str, Any]:
    since = None if source.last is None else now - source.last
    return {"status": _pulse(source, now), "seconds_since": since, "timeout": source.timeout}


def _now() -> str:
    return isoformat(datetime.now(UTC))
