"""Filling a fresh schema from a snapshot, with the new sandbox's own login.

Everything in it was written by some sandbox: names, expressions, function bodies, rows. None of it is read by the
control plane; it is sent, as it is, over a connection that has no rights but the new sandbox's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from valhalla.sandbox.errors import TemplateFailed
from valhalla.sandbox.templates.kinds import Snapshot

SETTINGS: Final = (
    "SET client_min_messages = warning; SET standard_conforming_strings = on; SET check_function_bodies = off;"
    " SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET row_security = off;"
    " SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 3;"
    " SET bytea_output = 'hex'; SET xmloption = content; SET quote_all_identifiers = off;"
)
"""What must be the same when rows and expressions are written and when they are read; our own limit bounds the time."""

CONTENTS: Final = "contents.json"
# one transaction for all would need a lock for every object
_PIECE: Final = 200


@dataclass(frozen=True, slots=True)
class TableFile:
    """The rows of one table, in the form of COPY."""

    table: str
    columns: tuple[str, ...]
    file: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a snapshot holds: statements before the rows, the rows, statements after them.

    ``schema`` is what the schema was called; a text of 16 random characters that means nothing else.
    """

    schema: str
    before: tuple[str, ...]
    rows: tuple[TableFile, ...]
    after: tuple[str, ...]


def write(folder: Path, contents: Contents) -> None:
    """Write the list of contents beside the rows."""
    (folder / CONTENTS).write_bytes(msgspec.json.encode(contents))


async def restore(snapshot: Snapshot, connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Run a snapshot through a login of the new sandbox.

    Raises:
        TemplateFailed: a statement failed, or all of them took too long.
    """
    try:
        async with asyncio.timeout(snapshot.timeout.total_seconds()):
            contents = await asyncio.to_thread(_read, snapshot.folder)
            await _restore(contents, snapshot.folder, connection)
    except TimeoutError as error:
        seconds = snapshot.timeout.total_seconds()
        raise TemplateFailed(f"the snapshot took longer than {seconds:g} s", template=snapshot.name) from error
    except (asyncpg.PostgresError, msgspec.MsgspecError, ValueError, OSError) as error:
        raise TemplateFailed(f"the snapshot cannot be restored: {error}", template=snapshot.name) from error


async def _restore(contents: Contents, folder: Path, connection: Any) -> None:
    schema = await connection.fetchval("SELECT pg_catalog.current_schema()")
    await connection.execute(SETTINGS)
    await _run(connection, contents.before, contents.schema, schema)
    for rows in contents.rows:
        await connection.copy_to_table(
            rows.table, source=folder / rows.file, columns=rows.columns, schema_name=schema, format="text"
        )
    await _run(connection, contents.after, contents.schema, schema)


async def _run(connection: Any, statements: Sequence[str], old: str, new: str) -> None:
    for start in range(0, len(statements), _PIECE):
        await connection.execute(";\n".join(statements[start : start + _PIECE]).replace(old, new))


def _read(folder: Path) -> Contents:
    return msgspec.json.decode((folder / CONTENTS).read_bytes(), type=Contents)
