"""How often a channel may be used: no span of its window sees more messages than its rate says, whoever sends them.

The count is the guard's, in the database that all processes share: an exact limit, by the server's clock, which
outlives the process that sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection

from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger

_log = get_logger("notifications")
_RESOURCE: Final = "valhalla.notifications"
_AWAY: Final = 1.0
# the guard stands on features, and so is known here by what it has in the database
_TAKE: Final = (
    sa.text("SELECT valhalla_guard.take(:charges, true) AS told")
    .bindparams(sa.bindparam("charges", type_=JSONB))
    .columns(sa.column("told", JSONB))
)


@dataclass(frozen=True, slots=True)
class Taken:
    """Whether one message may go, how many more may at once, and else the seconds until one may."""

    allowed: bool
    left: int
    wait: float


class _Told(msgspec.Struct):
    allowed: bool
    policies: list[tuple[str, int, float]]
    retry_after: float | None = None


def take(conn: Connection, channel: str, most: int, window: float) -> Taken:
    """Take one message of a channel's rate, of ``most`` in any ``window`` seconds; commit before it is sent."""
    charge = {
        "resource": _RESOURCE,
        "name": "rate",
        "subject": channel,
        "units": 1,
        "kind": "exact",
        "most": most,
        "interval": 0,
        "window": round(window * 1e6),
        "shadow": False,
    }
    told = msgspec.convert(conn.execute(_TAKE, {"charges": [charge]}).scalar_one(), _Told)
    # after a take it says how it was before, and then how it is
    return Taken(told.allowed, told.policies[-1][1], told.retry_after or 0.0)


class Pace:
    """One channel's rate, as far as this process has heard of it."""

    def __init__(
        self, db: Database, channel: str, rate: tuple[int, float], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``rate`` is so many in so many seconds."""
        self._db = db
        self._channel = channel
        self._rate = rate
        self._clock = clock
        self._left = rate[0]
        self._closed = float("-inf")

    def room(self) -> int:
        """Return how many are worth fetching: none while it is known that none may go."""
        return 0 if self._clock() < self._closed else max(1, self._left)

    async def take(self) -> bool:
        """Take one; ``False``: not now. Who cannot ask may not send."""
        if self._clock() < self._closed:
            return False
        try:
            taken = await self._db.run(take, self._channel, *self._rate)
        except (Unavailable, sqlalchemy.exc.DBAPIError) as error:
            _log.warning("a channel's rate cannot be asked for", channel=self._channel, error=type(error).__name__)
            taken = Taken(False, 0, _AWAY)
        self._left = taken.left
        if not taken.allowed:
            self._closed = self._clock() + taken.wait
        return taken.allowed
