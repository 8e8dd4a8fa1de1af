"""The rows in pieces: where each piece ends, and its bytes from COPY."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from valhalla.kit.copying.spec import Plan, Query
from valhalla.kit.sql import literal

Key = tuple[str, ...]
# the server sends eight kilobytes at a time: to wake up for each costs more than what is done with it
_LUMP: Final = 2**17
_PAUSE: Final = 0.001


class AwayError(Exception):
    """The server, or the way to it, is gone."""


@asynccontextmanager
async def connected(plan: Plan) -> AsyncGenerator[asyncpg.Connection[Any]]:
    """Open a session as ``session`` says."""
    connection = await asyncpg.connect(plan.dsn, timeout=10, server_settings=session(plan))
    try:
        yield connection
    finally:
        connection.terminate()


def session(plan: Plan) -> dict[str, str]:
    """Return the settings of a session that only reads, and writes each value in one form whatever the server's are."""
    return {
        "application_name": "valhalla-export",
        "default_transaction_read_only": "on",
        "statement_timeout": str(int(plan.statement_timeout * 1000)),
        "TimeZone": "UTC",
        "DateStyle": "ISO, YMD",
        "IntervalStyle": "iso_8601",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "jit": "off",
        # the key's index has the order already; where there is none, rows are sorted all the same
        "enable_sort": "off",
        "work_mem": "32MB",
    }


async def borders(connection: asyncpg.Connection[Any], plan: Plan) -> AsyncIterator[Key | None]:
    """Yield the key at which each piece ends; the last one, ``None``, has no end. One is looked for ahead."""
    query, at = plan.query, plan.place.key
    if not query.key:
        yield None
        return
    ahead = asyncio.create_task(_border(connection, query, at, plan.chunk_rows))
    try:
        while True:
            at = await ahead
            if at is not None:
                ahead = asyncio.create_task(_border(connection, query, at, plan.chunk_rows))
            yield at
            if at is None:
                return
    finally:
        ahead.cancel()


async def _border(connection: asyncpg.Connection[Any], query: Query, after: Key | None, rows: int) -> Key | None:
    shown = ", ".join(f"({part})::text" for part in query.key)
    text = f"SELECT {shown} {_within(query, after, None)} ORDER BY {', '.join(query.key)} OFFSET {rows - 1} LIMIT 1"
    row = await connection.fetchrow(text)
    return None if row is None else tuple(row)


async def piece(
    connection: asyncpg.Connection[Any],
    plan: Plan,
    after: Key | None,
    upto: Key | None,
    take: Callable[[bytes], None],
) -> int:
    """Hand the bytes of a piece to ``take``, whole rows at a time, and return how many rows they were."""

    async def sink(data: bytes) -> None:
        take(data)
        if len(data) < _LUMP:
            await asyncio.sleep(_PAUSE)

    output: Any = sink
    # JSON has no control characters, so with these as marks a line is the document as it is
    marks: dict[str, Any] = {"delimiter": "\x02", "quote": "\x01"} if plan.format == "jsonl" else {}
    text = select(plan.query, after, upto)
    status = await connection.copy_from_query(text, output=output, format="csv", timeout=None, **marks)
    return int(status.split()[1])


def select(query: Query, after: Key | None, upto: Key | None) -> str:
    """Return the statement that reads a piece."""
    order = f" ORDER BY {', '.join(query.key)}" if query.key else ""
    return f"SELECT {query.columns} {_within(query, after, upto)}{order}"


def _within(query: Query, after: Key | None, upto: Key | None) -> str:
    conditions: list[str] = []
    for sign, key in ((">", after), ("<=", upto)):
        if key is not None:
            values = [f"{literal(text)}::{cast}" for text, cast in zip(key, query.casts, strict=True)]
            conditions.append(f"({', '.join(query.key)}) {sign} ({', '.join(values)})")
            # the same once more, for the planner to leave out partitions
            conditions.append(f"{query.key[0]} {sign[0]}= {values[0]}")
    joined = " AND ".join(conditions)
    return query.source + (f" AND {joined}" if joined else "")
