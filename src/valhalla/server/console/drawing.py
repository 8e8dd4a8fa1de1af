"""Values that pages draw or write out in several forms: pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import log1p
from typing import Any, Final, NamedTuple

_WIDTH: Final = 1000.0
_DEEPEST: Final = 12
_MOST: Final = 500
_WEEKS: Final = 14


class Bar(NamedTuple):
    """One span of a waterfall: where it starts and how long it is, in thousandths of the whole."""

    span: Mapping[str, Any]
    depth: int
    start: float
    width: float


def waterfall(roots: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return the spans of a trace, each behind its parent, the first 500 of them."""
    flat: list[tuple[Mapping[str, Any], int]] = []
    waiting = [(root, 0) for root in reversed(roots)]
    while waiting and len(flat) < _MOST:
        span, depth = waiting.pop()
        flat.append((span, depth))
        waiting += [(child, depth + 1) for child in reversed(span.get("children") or ())]
    times = [(_epoch(span), float(span.get("seconds") or 0.0)) for span, _ in flat]
    if not times:
        return []
    first = min(start for start, _ in times)
    whole = max(max(start + seconds for start, seconds in times) - first, 1e-9)
    return [
        Bar(
            span,
            min(depth, _DEEPEST),
            round((start - first) / whole * _WIDTH, 1),
            max(2.0, round(seconds / whole * _WIDTH, 1)),
        )
        for (span, depth), (start, seconds) in zip(flat, times, strict=True)
    ]


def _epoch(span: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(span.get("started_at"))).timestamp()
    except ValueError:
        return 0.0


class Day(NamedTuple):
    """One day of a calendar, with what is planned on it: from when to when, and what."""

    date: date
    outside: bool
    plans: list[tuple[str, str, Mapping[str, Any]]]


def calendar(occurrences: Sequence[Mapping[str, Any]], since: str, until: str) -> list[list[Day]]:
    """Return weeks of seven days, in UTC; what lasts longer stands on each of its days."""
    first, last = _instant(since).date(), _instant(until).date()
    day = first - timedelta(days=first.weekday())
    spans = [(_instant(one["start"]), _instant(one["end"]), one) for one in occurrences]
    weeks: list[list[Day]] = []
    while day <= last and len(weeks) < _WEEKS:
        week: list[Day] = []
        for _ in range(7):
            begins = datetime.combine(day, time(), UTC)
            ends = begins + timedelta(days=1)
            plans = [
                ("" if start < begins else f"{start:%H:%M}", "" if end > ends else f"{end:%H:%M}", one)
                for start, end, one in spans
                if start < ends and end > begins
            ]
            week.append(Day(day, not first <= day <= last, plans))
            day += timedelta(days=1)
        weeks.append(week)
    return weeks


class Heat(NamedTuple):
    """One row of a grid: what was touched how often in each part of the time, and how hot that is, from 0 to 4."""

    name: str
    decoy: bool
    events: int
    cells: list[tuple[int, Mapping[str, Any] | None]]


def heat(touches: Sequence[Mapping[str, Any]], since: str, step: float) -> list[Heat]:
    """Return a row for each decoy and sensor that was touched, the most touched first."""
    begin, parts = _instant(since).timestamp(), 24
    most = max((int(one["events"]) for one in touches), default=1)
    rows: dict[tuple[str, bool], list[Mapping[str, Any] | None]] = {}
    for one in touches:
        place = round((_instant(one["at"]).timestamp() - begin) / step)
        row = rows.setdefault((str(one["name"]), bool(one["decoy"])), [None] * parts)
        row[min(max(place, 0), parts - 1)] = one
    found = [
        Heat(
            name,
            decoy,
            sum(int(one["events"]) for one in row if one is not None),
            [(0 if one is None else 1 + int(3 * log1p(one["events"]) / log1p(most)), one) for one in row],
        )
        for (name, decoy), row in rows.items()
    ]
    return sorted(found, key=lambda row: (-row.events, row.name))[:50]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def snippets(access: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how to enter a sandbox from a shell and from some languages."""
    env: Mapping[str, Any] = access.get("env") or {}
    found = [("Shell", "\n".join(f"export {name}={shlex.quote(str(value))}" for name, value in env.items()))]
    postgres, valkey = access.get("postgres"), access.get("valkey")
    if postgres:
        url = str(postgres["url"])
        psycopg = f'''import psycopg

with psycopg.connect("{url}") as conn:
    print(conn.execute("select current_schema()").fetchone())'''
        alchemy = url.replace("postgresql://", "postgresql+psycopg://", 1)
        found += [
            ("psql", f"psql {shlex.quote(url)}"),
            ("Python, psycopg", psycopg),
            ("Python, SQLAlchemy", f'from sqlalchemy import create_engine\n\nengine = create_engine("{alchemy}")'),
            ("Node.js, pg", f'import pg from "pg";\n\nconst client = new pg.Client("{url}");\nawait client.connect();'),
            ("Go, pgx", f'conn, err := pgx.Connect(ctx, "{url}")'),
        ]
    if valkey:
        redis = f'''import redis

client = redis.Redis.from_url("{valkey["url"]}")
client.set("{valkey["prefix"]}greeting", "hello")'''
        found.append(("Python, redis-py", redis))
    return found
