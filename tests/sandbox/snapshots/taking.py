"""Sandboxes with contents, and snapshots of them."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec
from tests.sandbox.plane import Team

from valhalla.sandbox.templates import SnapshotInfo


async def made(team: Team, sql: str, **said: Any) -> tuple[str, str]:
    """Make a sandbox with these contents; return its id and its URL."""
    created = await team.create(**said)
    assert created.connection is not None
    url = created.connection["postgres"]["url"]
    await run(url, sql)
    return created.sandbox.id, url


async def run(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def value(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def take(team: Team, sandbox: str, name: str, **said: Any) -> SnapshotInfo:
    return await team.runtime.snapshots.take(team.principal, sandbox, name, **said)


def contents(team: Team, info: SnapshotInfo) -> dict[str, Any]:
    """Return a snapshot as it is on disk, with its schema's name taken out."""
    snapshots = team.runtime.sandboxes.templates.snapshots
    assert snapshots is not None
    folder = snapshots.directory / info.version
    document = msgspec.json.decode((folder / "contents.json").read_bytes())
    text = msgspec.json.encode(document).decode().replace(document["schema"], "schema")
    rows = {item["table"]: sorted((folder / item["file"]).read_bytes().splitlines()) for item in document["rows"]}
    return msgspec.json.decode(text) | {"rows": rows}
