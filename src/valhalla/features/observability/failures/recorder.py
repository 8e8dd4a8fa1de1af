"""Unexpected errors on their way into the table: counted at once, written in batches, never waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.features.observability.failures import rules, store
from valhalla.features.observability.failures.contracts import Failure, Occurrences, Request
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import SYSTEM
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.outbox import emit_many
from valhalla.kit.redact import storable
from valhalla.kit.waiting import Backoff, first_of

_log = get_logger("failures")
_PAUSE: Final = 1.0
_MOST: Final = 200


class Recorder:
    """Holds what has not been written yet: at most ``most`` kinds of errors. Of more, the occurrences are counted."""

    def __init__(self, db: Database, ledger: Ledger, *, version: str, clock: Clock, most: int = _MOST) -> None:
        self._db = db
        self._ledger = ledger
        self._version = version
        self._clock = clock
        self._most = most
        self._waiting: dict[str, Occurrences] = {}
        self._wake = asyncio.Event()
        self.recorded = 0
        self.dropped = 0
        self.last_error: str | None = None
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn, whatever came of it."""

    def failed(self, error: BaseException, request: Request) -> None:
        """Note one unexpected error of a request; never waits."""
        self.note(error, where=request.name, correlation=request.correlation, principal=request.principal)

    def note(self, error: BaseException, *, where: str, correlation: str, principal: str | None = None) -> None:
        """Note one unexpected error; ``where`` is the route, or the name of the job. A repetition costs 10 µs."""
        error = rules.cause(error)
        route = storable(where[:300])
        places = rules.places(error)
        key = rules.fingerprint(error, places, route)
        now = self._clock.now()
        known = self._waiting.get(key)
        self.recorded += 1
        if known is not None:
            known.count += 1
            known.last_at, known.correlation, known.principal = now, correlation, principal
            return
        if len(self._waiting) >= self._most:
            self.dropped += 1
            return
        self._waiting[key] = Occurrences(
            fingerprint=key,
            kind=storable(rules.kind(error)),
            message=rules.message(error),
            route=route,
            place=storable(places[0][:300]),
            sample=rules.sample(error),
            correlation=correlation,
            principal=principal,
            first_at=now,
            last_at=now,
        )
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Write until told to stop, then once more."""
        backoff = Backoff(_PAUSE, 30.0)
        pause = 0.0
        while not stop.is_set():
            self.beat()
            await first_of(stop, self._wake, seconds=60.0)
            # what fails comes in storms: wait for the rest of it
            await first_of(stop, seconds=pause or _PAUSE)
            try:
                await self.flush()
            except Unavailable:
                pause = backoff.next()
            except Exception as error:  # noqa: BLE001 - what records errors must outlive its own
                self.last_error = type(error).__name__
                _log.exception("errors could not be recorded")
                pause = backoff.next()
            else:
                self.last_error, pause = None, 0.0
                backoff.reset()
        try:
            await self.flush()
        except Unavailable:
            _log.warning("errors were lost", kinds=len(self._waiting))

    async def flush(self) -> None:
        """Write what waits; what cannot be written waits again.

        Raises:
            Unavailable: the database cannot be reached.
        """
        self._wake.clear()
        taken, self._waiting = self._waiting, {}
        if not taken:
            return
        try:
            await self._db.run(self._write, [self._row(each) for each in taken.values()])
        except BaseException:
            self._again(taken)
            raise

    def _again(self, taken: Mapping[str, Occurrences]) -> None:
        for key, old in taken.items():
            newer = self._waiting.get(key)
            if newer is not None:
                newer.count += old.count
                newer.first_at = old.first_at
            elif len(self._waiting) < self._most:
                self._waiting[key] = old
            else:
                self.dropped += old.count
        self._wake.set()

    def _row(self, each: Occurrences) -> dict[str, Any]:
        return {
            "id": new_id(),
            "fingerprint": each.fingerprint,
            "kind": each.kind,
            "message": each.message,
            "route": each.route,
            "place": each.place,
            "sample": each.sample,
            "count": each.count,
            "first_at": each.first_at.isoformat(),
            "last_at": each.last_at.isoformat(),
            "correlation": each.correlation,
            "principal": each.principal,
            "version": self._version,
        }

    def _write(self, conn: Connection, rows: list[dict[str, Any]]) -> None:
        new, back = store.record(conn, rows)
        emit_many(conn, [event("error.new", each) for each in new] + [event("error.regressed", each) for each in back])
        self._ledger.append_many(
            conn,
            [
                {
                    "actor": SYSTEM.id,
                    "action": "error.regressed",
                    "kind": "error",
                    "subject": each.id,
                    "details": {"from": "resolved", "to": "open"},
                    "correlation_id": each.last_correlation,
                }
                for each in back
            ],
        )


def event(name: str, failure: Failure) -> dict[str, Any]:
    """Return the domain event about an error."""
    return {
        "subject": f"error.{failure.id}",
        "type": name,
        "data": {
            "id": failure.id,
            "kind": failure.kind,
            "message": failure.message,
            "route": failure.route,
            "place": failure.place,
            "count": failure.count,
        },
        "correlation_id": failure.last_correlation,
    }
