"""The ways that are tried: a job through a worker, an event through the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Problem
from valhalla.kit.db import Database
from valhalla.kit.outbox import emit
from valhalla.kit.writing import upkeep
from valhalla.work import Jobs, NoSuchJob, read, submit

JOB: Final = "valhalla.health"
_SHORT: Final = 0.01
_LONG: Final = 0.25

Heard = Callable[[str], Awaitable[Mapping[str, Any] | None]]
"""Returns the ``data`` of the last event of a subject as it came out at the other end, None when there is none."""


class WayError(Problem):
    """A way is not open; the detail says where it ends."""

    code = "way-closed"
    title = "A background part does not do its work"


def nothing(nonce: str) -> str:
    """Be the job that is run to see whether jobs are."""
    return nonce


async def job(db: Database, jobs: Jobs, source: str) -> None:
    """Submit a job and wait until a worker has run it. One that still waits is not joined by another.

    Raises:
        WayError: it ended otherwise.
        Unavailable: the database cannot be reached.
    """
    with upkeep():
        made = await db.run(_submit, jobs, source)
    pause = _SHORT
    while True:
        try:
            found = await db.read(read, made)
        except NoSuchJob:
            # finished and pruned: somebody ran it
            return
        if found.status == "succeeded":
            return
        if found.status not in ("queued", "running", "held"):
            raise WayError(f"its job is {found.status}")
        await asyncio.sleep(pause)
        pause = min(_LONG, pause * 1.5)


def _submit(conn: Connection, jobs: Jobs, source: str) -> str:
    key = f"health:{source}"
    return submit(conn, jobs, JOB, {"nonce": new_id()}, dedup_key=key, timeout=5.0).id


async def event(db: Database, source: str, heard: Heard) -> None:
    """Emit an event and wait until it came out at the other end.

    Raises:
        Unavailable: the database or NATS cannot be reached.
    """
    nonce, subject = new_id(), f"health.{source}"
    with upkeep():
        await db.run(_emit, subject, nonce)
    pause = _SHORT
    while True:
        data = await heard(subject)
        if data is not None and data.get("nonce") == nonce:
            return
        await asyncio.sleep(pause)
        pause = min(_LONG, pause * 1.5)


def _emit(conn: Connection, subject: str, nonce: str) -> None:
    emit(conn, subject=subject, type="health.probe", data={"nonce": nonce})
