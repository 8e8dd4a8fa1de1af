"""The sources of this process, and the watch over all: a beat costs its caller a store into a dictionary."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of
from valhalla.work.heartbeats import store

_log = get_logger("work")
_BEGINNING: Final = 5.0
_SOON: Final = 0.05
# a host that has not come back for a week is gone; looked for once an hour
_GONE: Final = timedelta(days=7)
_HOUR: Final = 3600.0


class Times(msgspec.Struct, frozen=True):
    """What a source promises, in seconds."""

    interval: float
    timeout: float


class Heart:
    """Carries beats of this process to the database and notes everywhere who is silent. One per process."""

    def __init__(self, db: Database, sources: Mapping[str, Times], *, clock: Clock | None = None) -> None:
        """``sources`` are expected from the start on, whether they ever begin or not."""
        self._db = db
        self._sources = dict(sources)
        self._clock = clock or Clock()
        self._beats: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._expected = False
        self._cleared = float("-inf")
        self.unhealthy: dict[str, str] = {}
        self.last_error: str | None = None

    def beat(self, name: str) -> None:
        """Say that ``name`` is alive; called by the watched thing itself, from any thread."""
        self._beats[name] = self._clock.monotonic()

    async def run(self, stop: asyncio.Event, *, every: float = 1.0) -> None:
        """Work until ``stop`` is set; then nobody expects these sources any more. A lost database is waited for."""
        backoff = Backoff(0.5, 5.0)
        started = self._clock.monotonic()
        while not stop.is_set():
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the watch outlives whatever it meets, and says so
                self.last_error = error.detail if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
                _log.warning("heartbeats cannot be looked at", error=self.last_error)
                await first_of(stop, seconds=backoff.next())
            else:
                backoff.reset()
                # who asks right after the start should hear of those that have begun
                beginning = bool(self.unhealthy) and self._clock.monotonic() - started < _BEGINNING
                await first_of(stop, seconds=min(every, _SOON) if beginning else every)
        # a control plane that was stopped is not a failure; one that died never comes here
        with contextlib.suppress(Unavailable):
            await self._db.run(store.forget_all, sorted(self._sources))

    async def look(self) -> None:
        """Carry the beats over first, then note who is silent: an outage of the database is nobody's silence."""
        beats, self._beats = self._beats, {}
        now = self._clock.monotonic()
        self._last |= beats
        try:
            ages = {name: now - at for name, at in beats.items()}
            heard = {name: now - at for name, at in self._last.items()}
            # expected anew by a new process: what was silent while none ran is not late yet
            self.unhealthy = await self._db.run(_look, ages, heard, self._sources, anew=not self._expected)
            self._expected = True
            if now - self._cleared >= _HOUR:
                await self._db.run(store.forget_gone, _parts(self._sources), after=_GONE)
                self._cleared = now
        except Exception:
            self._beats = {**beats, **self._beats}
            raise
        self.last_error = None


def _parts(names: Iterable[str]) -> list[str]:
    return sorted({name.partition(".")[0] for name in names})


def _look(
    conn: Connection,
    ages: Mapping[str, float],
    heard: Mapping[str, float],
    sources: Mapping[str, Times],
    *,
    anew: bool,
) -> dict[str, str]:
    # also when somebody forgot them meanwhile: what beats once a minute was heard of all the same
    known = set[str]() if anew else {one.name for one in store.every(conn)}
    missing = sources.keys() - known
    for name in sorted(missing):
        store.expect(conn, name, interval=sources[name].interval, timeout=sources[name].timeout)
    store.beat_many(conn, {**{name: heard[name] for name in missing if name in heard}, **ages})
    store.miss(conn)
    return {
        one.name: one.reason or ("was never heard of" if one.last_beat_at is None else "is silent")
        for one in store.every(conn)
        if one.status != "alive"
    }
