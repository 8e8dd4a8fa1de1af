"""A sandbox in quarantine: nobody enters it, its data and its time stay, and its owner comes back to all of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import redis.asyncio as redis
from tests.server.conftest import Make
from tests.server.plane import Plane, refused

from valhalla.sandbox import store

pytestmark = pytest.mark.slow
ACTIONS = "/system/admin/actions"


async def do(client: httpx.AsyncClient, action: str, sandbox: str, **query: Any) -> dict[str, Any]:
    order = {"arguments": {"sandbox": sandbox}, "reason": "it behaves oddly"}
    answer = await client.post(f"{ACTIONS}/{action}", json=order, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


async def test_nobody_enters_and_nothing_is_lost(
    plane: Plane, admin: httpx.AsyncClient, team_a: httpx.AsyncClient, make: Make
) -> None:
    made = await make(ttl="1h")
    access = (await team_a.get(f"/api/sandboxes/{made['id']}/connection")).json()
    dsn, valkey = access["env"]["DATABASE_URL"], access["env"]["REDIS_URL"]
    live = await asyncpg.connect(dsn)
    await live.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    box = redis.Redis.from_url(valkey)
    prefix = access["env"]["VALKEY_PREFIX"]
    await box.set(f"{prefix}kept", "7")

    planned = await do(admin, "sandbox.quarantine", made["id"], dry_run="true")
    assert planned == {"id": made["id"], "owner": "http-a", "cut": ["postgres", "valkey", "nats"], "open": []}
    assert await live.fetchval("SELECT n FROM kept") == 7
    shut = await do(admin, "sandbox.quarantine", made["name"])
    assert shut["quarantined_at"]
    assert (await do(admin, "sandbox.quarantine", made["id"]))["quarantined_at"] == shut["quarantined_at"]

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await live.fetchval("SELECT n FROM kept")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(dsn)
    with pytest.raises(redis.RedisError):
        await box.get(f"{prefix}kept")
    for path in ("connection", "tables"):
        refused(await team_a.get(f"/api/sandboxes/{made['id']}/{path}"), 409, "sandbox-not-running")
    seen = (await team_a.get(f"/api/sandboxes/{made['id']}")).json()
    assert seen["quarantined_at"][:19] == shut["quarantined_at"][:19]
    health = (await team_a.get(f"/api/sandboxes/{made['id']}/status")).json()
    assert (health["health"], health["reasons"][0]) == ("unhealthy", "the sandbox is in quarantine")
    # users come back after a restart of Valkey, but not this one's; nor does time end it
    late = datetime.fromisoformat(seen["expires_at"]) + timedelta(hours=1)
    due = await plane.runtime.db.read(lambda conn: store.due(conn, now=late, limit=10_000))
    assert made["id"] not in due
    await plane.runtime.reaper.restore_users()
    with pytest.raises(redis.RedisError):
        await box.get(f"{prefix}kept")
    assert await plane.runtime.quarantine.service.recut(plane.runtime.clock.now()) >= 1

    let = await do(admin, "sandbox.release", made["id"])
    assert datetime.fromisoformat(let["expires_at"]) > datetime.fromisoformat(seen["expires_at"])
    again = await asyncpg.connect(dsn)
    assert await again.fetchval("SELECT n FROM kept") == 7
    await again.close()
    fresh = redis.Redis.from_url(valkey)
    assert await fresh.get(f"{prefix}kept") == b"7"
    await fresh.aclose()
    await box.aclose()
    assert (await team_a.get(f"/api/sandboxes/{made['id']}/status")).json()["health"] == "healthy"
    told = (await team_a.get(f"/api/sandboxes/{made['id']}/audit")).json()["items"]
    assert {"quarantined", "released"} <= {one["action"] for one in told}
