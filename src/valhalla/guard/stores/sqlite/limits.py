"""Limits in SQLite: the arithmetic is ``governor.rules``, only where the numbers are is told here."""

from __future__ import annotations

import sqlite3
from typing import Final

from msgspec import Struct

from valhalla.guard.contracts import CasResult
from valhalla.guard.governor import rules
from valhalla.guard.stores.charges import TICKS, Charge, Met, policies, refusal

_BUCKET: Final = "resource = ? AND name = ? AND subject = ?"
_DONE: Final = CasResult("done")


class _Bucket(Struct):
    tat: float = 0.0
    step: float = 0.0
    total: int = 0


def take(db: sqlite3.Connection, charges: tuple[Charge, ...], at: float, *, report: bool) -> CasResult:
    """Charge all or none, inside the caller's transaction. ``at`` is in seconds."""
    if not charges:
        return _DONE
    now = float(int(at * TICKS))
    buckets = [_bucket(db, charge) for charge in charges]
    met = [_meet(db, charge, bucket, now) for charge, bucket in zip(charges, buckets, strict=True)]
    refused = refusal(met)
    if refused is not None:
        return refused
    for one, bucket in zip(met, buckets, strict=True):
        # a shadow limit that would refuse is not charged either
        if one.wait == 0:
            _charge(db, one.charge, bucket, now)
    if not report:
        return _DONE
    after = [_meet(db, charge, _bucket(db, charge), now) for charge in charges]
    return CasResult("done", policies=policies(after))


def _bucket(db: sqlite3.Connection, charge: Charge) -> _Bucket:
    found = db.execute(
        f"SELECT tat, step, total FROM buckets WHERE {_BUCKET}",
        (charge.resource, charge.name, charge.subject),
    ).fetchone()
    return _Bucket() if found is None else _Bucket(*found)


def _meet(db: sqlite3.Connection, charge: Charge, bucket: _Bucket, now: float) -> Met:
    if charge.kind == "exact":
        return _meet_exact(db, charge, bucket, now)
    tat = _tat(bucket, charge, now)
    remaining, reset = rules.state(max(tat, now), now, float(charge.interval), charge.most)
    if charge.units > charge.most:
        return Met(charge, None, remaining, reset)
    _, _, wait = rules.gcra(tat, now, charge.units, float(charge.interval), charge.most)
    return Met(charge, wait, remaining, reset)


def _tat(bucket: _Bucket, charge: Charge, now: float) -> float:
    if not bucket.step or bucket.step == charge.interval:
        return bucket.tat
    return float(rules.rescale(int(bucket.tat), int(now), int(bucket.step), charge.interval))


def _meet_exact(db: sqlite3.Connection, charge: Charge, bucket: _Bucket, now: float) -> Met:
    place = (charge.resource, charge.name, charge.subject)
    since = now - charge.window
    first = db.execute(
        f"SELECT before FROM units WHERE {_BUCKET} AND at > ? ORDER BY at, before LIMIT 1", (*place, since)
    ).fetchone()
    if first is None:
        return Met(charge, None if charge.units > charge.most else 0, charge.most, 0.0)
    live = bucket.total - first[0]
    last = db.execute(f"SELECT max(at) FROM units WHERE {_BUCKET}", place).fetchone()[0]
    remaining, reset = charge.most - live, last + charge.window - now
    if charge.units > charge.most:
        return Met(charge, None, remaining, reset)
    short = live + charge.units - charge.most
    if short <= 0:
        return Met(charge, 0, remaining, reset)
    # when so many of the oldest units have left the window that these fit
    (frees,) = db.execute(
        f"SELECT at FROM units WHERE {_BUCKET} AND at > ? AND before + n >= ? ORDER BY at, before LIMIT 1",
        (*place, since, first[0] + short),
    ).fetchone()
    return Met(charge, frees + charge.window - now, remaining, reset)


def _charge(db: sqlite3.Connection, charge: Charge, bucket: _Bucket, now: float) -> None:
    place = (charge.resource, charge.name, charge.subject)
    if charge.kind == "gcra":
        bucket.tat, _, _ = rules.gcra(_tat(bucket, charge, now), now, charge.units, float(charge.interval), charge.most)
        bucket.step = float(charge.interval)
        until = bucket.tat
    else:
        db.execute(f"DELETE FROM units WHERE {_BUCKET} AND at <= ?", (*place, now - charge.window))
        db.execute("INSERT INTO units VALUES (?, ?, ?, ?, ?, ?)", (*place, now, bucket.total, charge.units))
        bucket.total += charge.units
        until = now + charge.window
    db.execute(
        "INSERT INTO buckets VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET tat = excluded.tat, step = excluded.step, total = excluded.total, until = excluded.until",
        (*place, bucket.tat, bucket.step, bucket.total, until),
    )
