"""Looks at readiness when nobody asks, and tells when it goes and comes back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.features.observability.health import rules
from valhalla.features.observability.health.contracts import Phase
from valhalla.kernel.clock import Clock, isoformat
from valhalla.kernel.problems import Unavailable
from valhalla.kit.checks import Checks
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.kit.outbox import emit_many
from valhalla.kit.waiting import first_of, unless

_log = get_logger("health")
# of a night of flapping without a database the last hours are enough
_MOST: Final = 100


class Watch:
    """Keeps the checks' answers young and emits ``readiness.lost`` and ``readiness.regained``.

    What happened while the database was away is told when it is back, in order, with its time.
    """

    def __init__(
        self, db: Database, checks: Checks, source: str, *, phase: Callable[[], Phase], clock: Clock, every: float = 5.0
    ) -> None:
        """``every`` in seconds."""
        self._db = db
        self._checks = checks
        self._source = source
        self._phase = phase
        self._clock = clock
        self._every = every
        self._waiting: deque[rules.Turn] = deque(maxlen=_MOST)
        self.last: rules.Turn | None = None
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn, whatever came of it."""

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop`` is set."""
        self.beat()
        while not await first_of(stop, seconds=self._every):
            self.beat()
            try:
                await unless(stop, self.look())
            except Unavailable:
                continue
            except Exception:  # noqa: BLE001 - it outlives whatever it meets, and says so
                _log.exception("readiness cannot be looked at")

    async def look(self) -> None:
        """Look once; a control plane that starts or stops has lost nothing.

        Raises:
            Unavailable: what happened is kept for the next time.
        """
        if self._phase() != "serving" or not self._checks.names:
            return
        report = await self._checks.run()
        if self._phase() != "serving":
            return
        turn = rules.turn(self.last, report, now=self._clock.now())
        if turn is not None:
            self.last = turn
            self._waiting.append(turn)
            tell = _log.info if turn.ready else _log.error
            tell(turn.type, reasons=dict(turn.reasons), lasted=round(turn.lasted, 1))
        if self._waiting:
            batch = list(self._waiting)
            await self._db.run(_tell, self._source, batch)
            for _ in batch:
                self._waiting.popleft()


def _tell(conn: Connection, source: str, turns: list[rules.Turn]) -> None:
    emit_many(
        conn,
        [
            {
                "subject": f"readiness.{source}",
                "type": turn.type,
                "data": {
                    "source": source,
                    "reasons": dict(turn.reasons),
                    "at": isoformat(turn.at),
                    "lasted_seconds": round(turn.lasted, 3),
                },
            }
            for turn in turns
        ],
    )
