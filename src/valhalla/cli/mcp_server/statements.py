"""One SQL statement for an agent: no more of its result is read than is shown."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import psycopg

Document = dict[str, Any]
MOST_ROWS: Final = 200
MOST_CHARACTERS: Final = 4000
SECONDS: Final = 30
# such a result cannot be a cursor's: what it writes has to be written to the end
_RETURNS: Final = re.compile(r"\breturning\b", re.IGNORECASE)


class _Result:
    """The rows that are shown, as JSON can hold them; the others are only counted."""

    def __init__(self) -> None:
        self.rows: list[Document] = []
        self.count = 0
        self._cut: dict[str, None] = {}

    async def read(self, cursor: psycopg.AsyncCursor[Any], rows: AsyncIterator[Sequence[Any]]) -> None:
        """Take the rows as they come, so that no more than one is held besides those that are shown."""
        async for row in rows:
            self.count += 1
            if len(self.rows) < MOST_ROWS:
                names = [column.name for column in cursor.description or ()]
                self.rows.append({name: self._cell(name, value) for name, value in zip(names, row, strict=True)})

    def document(self, status: str) -> Document:
        """Return the answer, with what was cut of it."""
        more = self.count > len(self.rows)
        cuts = [f"cut after {MOST_ROWS} rows"] if more else []
        if self._cut:
            cuts.append(f"cells cut after {MOST_CHARACTERS} characters in: {', '.join(self._cut)}")
        return {"status": status, "rows": self.rows, "more": more} | ({"cut": cuts} if cuts else {})

    def _cell(self, name: str, value: Any) -> Any:
        plain = _plain(value)
        text = plain if isinstance(plain, str) else json.dumps(plain)
        if len(text) <= MOST_CHARACTERS:
            return plain
        self._cut[name] = None
        return f"{text[:MOST_CHARACTERS]}… (cut, {len(text)} characters in all)"


async def run(url: str, sql: str) -> Document:
    """Run one statement, committed, and return its status and first rows.

    Raises:
        psycopg.Error: Postgres cannot be reached, or refused it.
    """
    async with await psycopg.AsyncConnection.connect(url, connect_timeout=10, autocommit=True) as conn:
        await conn.execute(f"SET statement_timeout = '{SECONDS}s'".encode())
        try:
            return await _query(conn, sql)
        except _NoCursorError:
            return await _execute(conn, sql)


class _NoCursorError(Exception):
    """The statement is no query, or a wrong one; nothing of it was run."""


async def _query(conn: psycopg.AsyncConnection[Any], sql: str) -> Document:
    result, cursor = _Result(), conn.cursor()
    async with conn.transaction():
        try:
            # prepared: a text of several statements is refused then
            await cursor.execute(f"DECLARE vh_agent NO SCROLL CURSOR FOR {sql}".encode(), prepare=True)
        except (psycopg.ProgrammingError, psycopg.NotSupportedError) as error:
            raise _NoCursorError from error
        # one more shows that there are more
        await result.read(cursor, cursor.stream(f"FETCH FORWARD {MOST_ROWS + 1} FROM vh_agent".encode()))
    return result.document(f"SELECT {len(result.rows)}")


async def _execute(conn: psycopg.AsyncConnection[Any], sql: str) -> Document:
    result, cursor = _Result(), conn.cursor()
    if _RETURNS.search(sql):
        try:
            await result.read(cursor, cursor.stream(sql.encode()))
        except psycopg.ProgrammingError as error:
            # the word was in a text or a comment: it was run, and returned nothing
            if error.sqlstate is not None:
                raise
            return {"status": "done", "rows": []}
        return result.document(f"{result.count} rows")
    await cursor.execute(sql.encode(), prepare=True)
    status = cursor.statusmessage or ""
    if cursor.description is None:
        return {"status": status, "rows": []}
    await result.read(cursor, aiter(cursor))
    return result.document(status)


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a value of Postgres."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, Mapping)):
        return json.loads(json.dumps(value, default=str))
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return str(value)
