"""The dedup table of ``begin`` as a pure function, for every store that reads a row and decides in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from valhalla.guard.contracts import OPEN, RELEASED, SETTLED, Began, BeginRequest, State

if TYPE_CHECKING:
    from valhalla.guard.stores.rows import Row

# how long a duplicate is told to wait when the end of the first call cannot be known
POLL = 1.0


class Go(Struct, frozen=True):
    """Go on: claim with this id and generation."""

    id: str
    generation: int


class Stop(Struct, frozen=True):
    """Answer with the row that was met."""

    kind: Began
    retry_after: float | None = None


class Move(Struct, frozen=True):
    """First move the row that was met to another state, then go on or stop."""

    to: State
    event: str
    then: Go | Stop


def look(request: BeginRequest, row: Row, now: float) -> Go | Stop | Move:  # noqa: PLR0911 - one line per row of the table
    """Say what ``begin`` does about the row that has the request's key. ``row`` may be any object with its members."""
    state = row.state
    fresh = Go(request.id, row.generation + 1)
    if row.gone(now):
        return fresh
    if state in RELEASED:
        return Go(row.id, row.generation + 1) if state == "not_done" and _same(request, row) else fresh
    if state in OPEN:
        return _open(request, row, now, fresh)
    if not row.cold.keep and state in (*SETTLED, "denied"):
        return fresh
    if not _same(request, row):
        return Stop(Began.KEY_REUSE)
    if state in SETTLED:
        return Stop(Began.REPLAY)
    if state == "denied":
        return Stop(Began.DENIED)
    again = Go(row.id, row.generation + 1)
    if state == "indeterminate":
        return again if request.on_lapse == "rerun" else Stop(Began.INDETERMINATE)
    if now < row.lease_until:
        return Stop(Began.IN_PROGRESS, min(POLL, row.lease_until - now))
    return again if request.on_lapse == "rerun" else Move("indeterminate", "lapsed", Stop(Began.INDETERMINATE))


def _open(request: BeginRequest, row: Row, now: float, fresh: Go) -> Go | Stop | Move:
    expires = row.cold.expires_at
    if expires is not None and now >= expires:
        return Move("expired", "expired", fresh)
    if not _same(request, row):
        if row.principal != request.principal:
            return Stop(Began.KEY_REUSE)
        return Move("superseded" if row.state == "held" else "stale", "superseded", fresh)
    return Stop(Began.HELD if row.state == "held" else Began.APPROVED)


def _same(request: BeginRequest, row: Row) -> bool:
    return row.fingerprint == request.fingerprint
