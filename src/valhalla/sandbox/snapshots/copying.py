"""Writing what a sandbox holds into a folder, with the sandbox's own login."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from valhalla.kit.sql import identifier
from valhalla.sandbox.errors import SnapshotTooLarge
from valhalla.sandbox.snapshots.definitions import Reader
from valhalla.sandbox.templates.restoring import SETTINGS, Contents, TableFile, write

MOST_ROW: Final = 16 * 2**20
"""Bytes of one row: it is in memory as a whole, and a few compressed bytes may be a gigabyte."""
_TABLES: Final = (
    "SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.to_regnamespace($1)"
    " AND relkind IN ('r', 'p') ORDER BY relname"
)


@dataclass(frozen=True, slots=True)
class Copied:
    """How much was written."""

    tables: int
    rows: int
    size: int


async def copy(connection: asyncpg.Connection[asyncpg.Record], schema: str, folder: Path, *, most: int) -> Copied:
    """Write definitions and rows of a schema, as they are at one moment; ``most`` bounds the bytes of rows.

    The connection is in a transaction afterwards, or ended: whoever opened it closes it.

    Raises:
        SnapshotUnsupported, SnapshotTooLarge: it cannot be carried.
        asyncpg.PostgresError: the sandbox's login is refused, or what it wrote gets in the way.
    """
    await connection.execute(SETTINGS + f"SET search_path = {identifier(schema)}; SET lock_timeout = '5s'")
    tables = [row[0] for row in await connection.fetch(_TABLES, schema)]
    # nothing is written, so nothing is rolled back: a COPY that was broken off may never answer again
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    if tables:
        # nobody alters them meanwhile: definitions are told as they are now, rows as they were at the beginning
        await connection.execute(f"LOCK TABLE {', '.join(map(identifier, tables))} IN ACCESS SHARE MODE")
    definitions = await Reader(connection).read()
    files: list[TableFile] = []
    rows = size = 0
    for number, (table, columns) in enumerate(definitions.tables):
        await _check_rows(connection, schema, table)
        target = folder / f"{number}.copy"
        count, written = await _copy_rows(connection, schema, table, columns, target, most=most - size)
        rows, size = rows + count, size + written
        if count:
            files.append(TableFile(table, columns, target.name))
        else:
            target.unlink()
    contents = Contents(schema, tuple(definitions.before), tuple(files), tuple(definitions.after))
    write(folder, contents)
    return Copied(len(definitions.tables), rows, size)


async def _check_rows(connection: Any, schema: str, table: str) -> None:
    source = f"ONLY {identifier(schema)}.{identifier(table)} AS t"
    query = f"SELECT pg_catalog.max(pg_catalog.octet_length(t::text)) FROM {source}"  # noqa: S608 - both are quoted
    longest = await connection.fetchval(query)
    if longest is not None and longest > MOST_ROW:
        raise SnapshotTooLarge(f"a row of table {table} is longer than {MOST_ROW} bytes", limit=MOST_ROW)


async def _copy_rows(
    connection: Any, schema: str, table: str, columns: tuple[str, ...], target: Path, *, most: int
) -> tuple[int, int]:
    written = 0
    with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:

        async def keep(data: bytes) -> None:
            nonlocal written
            written += len(data)
            if written > most:
                raise SnapshotTooLarge(f"the rows are more than the snapshot may hold, at table {table}", limit=most)
            file.write(data)

        sink: Callable[[bytes], Any] = keep
        try:
            status: str = await connection.copy_from_table(
                table, schema_name=schema, columns=columns, output=sink, format="text"
            )
        except (SnapshotTooLarge, OSError):
            # the driver would wait for the end of what it was not let read
            connection.terminate()
            raise
    count = 0
    with suppress(ValueError, IndexError):
        count = int(status.split()[1])
    return count, written
