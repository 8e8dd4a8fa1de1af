"""The verbs inside one write transaction: read a row, decide with the shared rules, write it."""

from __future__ import annotations

import sqlite3
from typing import Final

from msgspec.structs import replace

from valhalla.guard.contracts import Began, BeginRequest, BeginResult, CasRequest, CasResult, Effect, State, Verdict
from valhalla.guard.stores import dedup, swap
from valhalla.guard.stores.charges import charges_of
from valhalla.guard.stores.rows import Cold, Row
from valhalla.guard.stores.sqlite import limits, rows
from valhalla.guard.stores.wire import seconds
from valhalla.kit.redact import storable

_UNKNOWN: Final = CasResult("limited")
_DONE: Final = CasResult("done")


def is_intent(request: BeginRequest | CasRequest) -> bool:
    """Say whether a power cut must not forget it: all but finishes, heartbeats and what may run again anyway.

    A finish that is lost leaves a row of which nobody knows the end, never one that runs again.
    """
    if isinstance(request, BeginRequest):
        return request.effect in (Effect.IRREVERSIBLE, Effect.REVERSIBLE)
    return request.event not in (None, "finish")


def begin(db: sqlite3.Connection, request: BeginRequest, now: float) -> BeginResult:
    """Dedup, policy, limits, claim and ledger line."""
    met = None if request.key is None else rows.answering(db, request.name, request.key)
    answer = dedup.Go(request.id, 1)
    if met is not None:
        answer = dedup.look(request, met, now)
        if isinstance(answer, dedup.Move):
            _enter(db, met, answer.to, now, answer.event)
            answer = answer.then
        if not isinstance(answer, dedup.Go):
            return BeginResult(answer.kind, met.record(0.0, now), answer.retry_after)
    again = met if met is not None and met.id == answer.id else None
    return _claim(db, request, again, answer, now)


def _claim(db: sqlite3.Connection, request: BeginRequest, again: Row | None, go: dedup.Go, now: float) -> BeginResult:
    cold = replace(Cold.of(request, go.id), ttl=seconds(request.ttl), tombstone=seconds(request.tombstone))
    row = Row(go.id, request.key, request.fingerprint, request.principal, now, cold, go.generation, now)
    if request.verdict is Verdict.DENY:
        row.state = "denied"
        rows.line(db, now, "denied", row, row.principal)
        return BeginResult(Began.DENIED)
    hold = request.hold if request.verdict is Verdict.HOLD else None
    if hold is not None and _holds(db, request.principal) >= hold.cap:
        return BeginResult(Began.CAPPED)
    taken = _DONE if hold is not None else _take(db, request, now)
    if not taken.done:
        row.state = "denied"
        rows.line(db, now, "limited", row, row.principal)
        return BeginResult(Began.LIMITED, None, taken.retry_after, taken.limit, taken.policies)
    if hold is not None:
        row.state = "held"
        row.cold = replace(
            cold,
            expires_at=now + seconds(hold.expires_in),
            quorum=hold.quorum,
            payload=hold.payload,
            summary=hold.summary,
        )
    row.lease_until = now + seconds(request.lease)
    if again is not None:
        row.version = again.version + 1
        rows.update(db, row)
    elif request.key is not None or request.track:
        rows.insert(db, row)
    rows.line(db, now, "held" if hold else "begin", row, row.principal)
    kind = Began.HELD if hold else Began.EXECUTE
    return BeginResult(kind, row.record(0.0, now), None, None, taken.policies)


def _take(db: sqlite3.Connection, request: BeginRequest | CasRequest, now: float) -> CasResult:
    charges = charges_of(request.takes)
    if charges is None:
        return _UNKNOWN
    return limits.take(db, charges, now, report=isinstance(request, CasRequest) or request.report)


def _holds(db: sqlite3.Connection, principal: str) -> int:
    return db.execute(
        "SELECT count(*) FROM actions WHERE principal = ? AND state IN ('held', 'approved')", (storable(principal),)
    ).fetchone()[0]


def cas(db: sqlite3.Connection, request: CasRequest, now: float) -> CasResult:
    """Change one row if it still is what the request says."""
    row = rows.find(db, request.id)
    if row is None:
        return CasResult("absent")
    if not swap.holds_still(row, request, now):
        return CasResult("missed", row.record(0.0, now))
    taken = _take(db, request, now)
    if not taken.done:
        return replace(taken, record=row.record(0.0, now))
    swap.change(row, request, now)
    _enter(db, row, request.to, now, request.event, request.actor)
    return CasResult("done", row.record(0.0, now), None, None, taken.policies)


def _enter(
    db: sqlite3.Connection, row: Row, to: State, now: float, event: str | None, actor: str | None = None
) -> None:
    row.version += 1
    row.updated_at = now
    row.state = to
    rows.update(db, row)
    if event is not None:
        rows.line(db, now, event, row, actor or row.principal)
