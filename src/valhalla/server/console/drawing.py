"""Values that pages draw or write out in several forms: pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

_WIDTH: Final = 1000.0
_DEEPEST: Final = 12
_MOST: Final = 500


class Bar(NamedTuple):
    """One span of a waterfall: where it starts and how long it is, in thousandths of the whole."""

    span: Mapping[str, Any]
    depth: int
    start: float
    width: float


def waterfall(roots: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return the spans of a trace, each behind its parent, at most 500."""
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
