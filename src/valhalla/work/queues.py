"""How the queues are: bounded counts, as nothing here may read all jobs for somebody who looks at a page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.work import engine
from valhalla.work.kinds import ALIVE

WAITING: Final = 1000
"""At most so many that wait are counted, of each kind of jobs: ten of them are a block that is read."""
NEWEST: Final = 1000
"""Of running, held and dead jobs so many are counted, the newest."""
_LANES: Final = 200

_COUNTED: Final = ("running", "held", "dead")
# each a walk along the index of (status, id)
_STATUSES: Final = sa.text(
    "SELECT j.queue, j.status, count(*) AS count FROM unnest(CAST(:statuses AS text[])) AS s(status)"
    " CROSS JOIN LATERAL (SELECT queue, status FROM valhalla.jobs WHERE status = s.status"
    " ORDER BY id DESC LIMIT :newest) AS j GROUP BY j.queue, j.status"
)
_KNOWN: Final = sa.text(
    "SELECT queue, bool_or(seen_at > clock_timestamp() - make_interval(secs => :alive)) AS alive"
    " FROM valhalla.job_kinds GROUP BY queue"
)


class QueueState(msgspec.Struct, kw_only=True):
    """One queue; ``oldest_at`` is when the first of those that wait became due, or will be."""

    name: str
    waiting: int = 0
    oldest_at: datetime | None = None
    running: int = 0
    held: int = 0
    dead: int = 0
    alive: bool = False


class Queues(msgspec.Struct, frozen=True):
    """Every queue with a job, or that a worker knows, by name; ``capped`` are the counts that may be higher."""

    items: Sequence[QueueState]
    capped: Sequence[str]


def every(conn: Connection) -> Queues:
    """Return how all queues are."""
    found: dict[str, QueueState] = {}
    capped: set[str] = set()

    def queue(name: str) -> QueueState:
        return found.setdefault(name, QueueState(name=name))

    for row in conn.execute(_KNOWN, {"alive": ALIVE}):
        queue(row.queue).alive = row.alive
    lanes = engine.waiting(conn, most=WAITING, lanes=_LANES)
    for name, count, oldest in lanes:
        one = queue(name)
        one.waiting += count
        one.oldest_at = oldest if one.oldest_at is None else min(one.oldest_at, oldest)
        if count == WAITING or len(lanes) == _LANES:
            capped.add("waiting")
    totals = dict.fromkeys(_COUNTED, 0)
    for row in conn.execute(_STATUSES, {"statuses": list(_COUNTED), "newest": NEWEST}).mappings():
        setattr(queue(row["queue"]), row["status"], row["count"])
        totals[row["status"]] += row["count"]
    capped |= {status for status, total in totals.items() if total == NEWEST}
    return Queues([found[name] for name in sorted(found)], sorted(capped))
