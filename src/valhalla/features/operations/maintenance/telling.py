"""What is said of maintenance, each thing once: pure decisions, and one transaction that writes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.operations.maintenance.contracts import Occurrence, Standing, Told
from valhalla.features.operations.maintenance.records import KEY, Records
from valhalla.features.operations.maintenance.recurrence import Walk
from valhalla.features.operations.maintenance.rules import Timetable
from valhalla.kernel.clock import isoformat
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit_many

AHEAD: Final = timedelta(hours=24)
LONG: Final = timedelta(minutes=30)
_SUBJECT: Final = "maintenance"


@dataclass(frozen=True, slots=True)
class News:
    """What there is to say, and what has then been said."""

    events: list[tuple[str, dict[str, Any]]]
    told: Told


def news(told: Told, timetable: Timetable, now: datetime, actor: str = "system") -> News:
    """Compare what holds with what was said last."""
    standing = timetable.standing(now)
    events: list[tuple[str, dict[str, Any]]] = []
    mode = standing.mode
    same = (told.mode, told.source, told.until) == (mode, standing.source, standing.until)
    if mode != told.mode or (mode != "normal" and not same):
        events.append(("maintenance.changed", {"previous": told.mode, "actor": actor, **_data(standing)}))
        if mode == "normal":
            events.append(("maintenance.ended", {"previous": told.mode, "actor": actor}))
    overdue = _overdue(standing, now)
    if overdue and not (told.overdue and told.since == standing.since):
        events.append(("maintenance.overdue", _data(standing)))
    coming = [one for one in timetable.occurrences(now, now + AHEAD + timedelta(seconds=1)) if one.start > now]
    # ones that began less than a moment ago are still remembered: clocks of processes differ a little
    announced = {name for name in told.announced if _start_of(name) > now - timedelta(hours=1)}
    fresh = [one for one in coming if one.name not in announced]
    events.extend(("maintenance.announced", announcement(one)) for one in fresh)
    after = Told(
        mode,
        "default" if mode == "normal" else standing.source,
        None if mode == "normal" else standing.since,
        None if mode == "normal" else standing.until,
        overdue,
        tuple(sorted(announced | {one.name for one in fresh})),
    )
    return News(events, after)


def announcement(one: Occurrence) -> dict[str, Any]:
    """Return what an announcement says."""
    return {
        "window": one.window,
        "mode": one.mode,
        "reason": one.reason,
        "start": isoformat(one.start),
        "end": isoformat(one.end),
    }


def tell(conn: Connection, records: Records, ledger: Ledger, now: datetime, actor: str) -> int:
    """Write what there is to say; return how many events. Processes take turns, so each thing is said once.

    What is stored decides, not a snapshot: another process may have changed it a moment ago.
    """
    records.told.lock(conn)
    record, state = records.told.find(conn, KEY), records.state.find(conn, KEY)
    told = Told() if record is None else record.value
    walks = [Walk(each.value, each.updated_at) for each in records.windows.load(conn)[1]]
    found = news(told, Timetable(None if state is None else state.value, walks, timedelta(0)), now, actor)
    if found.told != told:
        records.told.put(conn, KEY, found.told, actor=actor)
    if not found.events:
        return 0
    emit_many(conn, [{"subject": _SUBJECT, "type": kind, "data": data} for kind, data in found.events])
    for kind, data in found.events:
        if kind == "maintenance.changed":
            ledger.append(conn, actor=actor, action=kind, kind="maintenance", subject="mode", details=data)
    return len(found.events)


def _overdue(standing: Standing, now: datetime) -> bool:
    """Say whether writes have been closed for long without a plan: a window ends by itself."""
    if standing.mode == "normal" or standing.source == "window" or standing.since is None:
        return False
    return now - standing.since >= LONG


def _data(standing: Standing) -> dict[str, Any]:
    data: dict[str, Any] = {
        "mode": standing.mode,
        "reason": standing.reason,
        "source": standing.source,
        "window": standing.window,
        "since": None if standing.since is None else isoformat(standing.since),
        "until": None if standing.until is None else isoformat(standing.until),
    }
    return data


def _start_of(name: str) -> datetime:
    return datetime.strptime(name.rpartition("@")[2], "%Y%m%dT%H%M%S%z")


def is_news(told: Told, timetable: Timetable, now: datetime) -> bool:
    """Say whether there is anything to write."""
    found = news(told, timetable, now)
    return bool(found.events) or msgspec.structs.replace(found.told, announced=told.announced) != told
