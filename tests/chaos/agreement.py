"""What must be true when the dust has settled: the registry and every backend hold exactly the same sandboxes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
import redis
from tests.chaos.client import Client, Held
from tests.chaos.world import World

from valhalla.kit import natsauth
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.natsauth import KeyPair
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.postgres import PostgresSlice
from valhalla.sandbox.slices.valkey import ValkeySlice

_COLUMNS = "id, status, owner, last_error, slot_ready_at IS NOT NULL AS ready, reserved_by, pg_database, pg_schema, pg_role, valkey_user, key_prefix"  # noqa: E501


def rows_of(world: World) -> list[Any]:
    """Read the registry."""
    with psycopg.connect(world.database_url, row_factory=psycopg.rows.namedtuple_row) as sql:
        return sql.execute(f"SELECT {_COLUMNS} FROM valhalla.sandboxes").fetchall()


def is_settled(row: Any) -> bool:
    """Say whether nobody has anything to do with this row; a finished slot may wait for ever."""
    return row.status in {"running", "destroyed"} or (row.status == "pending" and row.ready)


def await_rest(world: World, *, seconds: float = 60) -> None:
    """Wait until no sandbox is on its way from one state to another."""
    end = time.monotonic() + seconds
    while rest := [row for row in rows_of(world) if not is_settled(row)]:
        assert time.monotonic() < end, f"still on their way after {seconds} s: {rest}"
        time.sleep(0.2)


async def backends(world: World) -> set[str]:
    """List everything that bears the cell's mark."""
    endpoints = world.stack.endpoints
    slices: list[Any] = [
        PostgresSlice(world.database_url, world.cell),
        ValkeySlice(str(endpoints.valkey_url), world.cell),
        NatsSlice(str(endpoints.nats_url), world.cell),
    ]
    found: set[str] = set()
    for part in slices:
        found |= {f"{item.slice} {item.kind} {item.name}" for item in await part.found()}
        await part.close()
    return found


def expected(world: World, rows: Iterable[Any]) -> set[str]:
    """Return what the registry says there is."""
    names: set[str] = set()
    for row in rows:
        account = KeyPair.derive(world.cell, "account", "sandbox", row.id).public
        names |= {
            f"postgres role {row.pg_role}",
            f"postgres schema {row.pg_database}.{row.pg_schema}"
            if "_arena_" in row.pg_database
            else f"postgres database {row.pg_database}",
            f"valkey user {row.valkey_user}",
            f"nats account {account}",
        }
    return names


async def check(world: World, clients: list[Client]) -> None:
    """Compare all of it.

    Raises:
        AssertionError: something is doubled, lost or orphaned.
    """
    rows = rows_of(world)
    whole = [row for row in rows if row.status != "destroyed"]
    there, wanted = await backends(world), expected(world, whole)
    assert there == wanted, {"orphaned": sorted(there - wanted), "lost": sorted(wanted - there)}
    held = [held for client in clients for held in client.all]
    _agree(held, {row.id: row for row in rows})
    _contents(world, {row.key_prefix for row in whole})
    with psycopg.connect(world.database_url) as sql:
        counted = sql.execute(
            "SELECT o.owner, o.live, count(s.id) FROM valhalla.owner_live o LEFT JOIN valhalla.sandboxes s"
            " ON s.owner = o.owner AND s.status IN ('pending', 'creating', 'running', 'expired')"
            " GROUP BY o.owner, o.live HAVING o.live <> count(s.id)"
        ).fetchall()
        assert counted == [], "an owner's count is not what it counts"
    database = Database(world.database_url)
    verdict = await database.run(Ledger(world.cell).verify)
    await database.close()
    assert verdict.ok, verdict


def _agree(held: list[Held], rows: dict[str, Any]) -> None:
    ids = [each.id for each in held]
    assert len(set(ids)) == len(ids), "one sandbox was given to two"
    for each in held:
        status = rows[str(each.id)].status
        assert each.state != "live" or status == "running", f"{each.key} is {status}, and nobody ended it"
        assert each.state not in {"gone", "short"} or status == "destroyed", f"{each.key} is {status}, and was ended"
    known = set(ids)
    unknown = [row.id for row in rows.values() if row.owner and row.status == "running" and row.id not in known]
    assert unknown == [], "running sandboxes that nobody was given"


def _contents(world: World, prefixes: set[str]) -> None:
    with redis.Redis.from_url(str(world.stack.endpoints.valkey_url)) as admin:
        # the control plane counts under a prefix of its own
        known = ("valhalla:", *prefixes)
        stray = [key for key in admin.scan_iter(count=1000) if not key.decode().startswith(known)]
    assert stray == [], "keys of sandboxes that are gone"
    folder: Path | None = world.stack.endpoints.nats_jwt_dir
    assert folder is not None
    accounts = {path.stem for path in folder.rglob("*.jwt")} | set(natsauth.trust(world.cell).accounts)
    streams = [
        path.name for path in folder.parent.glob("**/jetstream/*") if path.is_dir() and path.name not in accounts
    ]
    assert [name for name in streams if name.startswith("A")] == [], "streams of accounts that are gone"
