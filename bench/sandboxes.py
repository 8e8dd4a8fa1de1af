"""Create and destroy over HTTP, beside the floor (the same statements without us) and what people use instead."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from bench.plane import control, down, folder, up
from bench.report import Figure, figure, publish
from valhalla.backing import embedded_url
from valhalla.embedded import Endpoints
from valhalla.kit.cellkey import CellKey
from valhalla.kit.scram import verifier
from valhalla.sandbox.templates import Templates

N = 60


def run() -> None:
    """Measure and publish; without a pool, so that every creation is a cold one."""
    os.environ["VALHALLA_POOL_SIZE"] = "0"
    with folder() as data_dir:
        up(data_dir)
        try:
            figures = asyncio.run(_measure(data_dir))
        finally:
            down(data_dir)
    publish("Sandboxes: cold create and destroy", figures)


async def _measure(data_dir: Path) -> list[Figure]:
    document = control(data_dir)
    postgres = await connect(data_dir)
    units = await unit(postgres)
    floor = await _bare_schema(postgres)
    naive = await _database(postgres)
    await postgres.close()
    key = (data_dir / "admin.key").read_text().strip()
    async with httpx.AsyncClient(
        base_url=document["url"], headers={"Authorization": f"Bearer {key}"}, timeout=30
    ) as client:
        await _cycle(client, "warm")
        cycles = [await _cycle(client, f"bench{index}") for index in range(N)]
        empty = [await _timed(client.get("/live")) for _ in range(N)]
    create, cut, first, inside = ([cycle[i] for cycle in cycles] for i in range(4))
    middle = sorted(units)[len(units) // 2]
    return [
        figure("U: one-row INSERT + commit (unit)", "ms", units),
        figure("GET /live (HTTP floor)", "ms", empty),
        figure("role + schema + 3 tables, bare (floor)", "ms", floor),
        figure("CREATE DATABASE … TEMPLATE (what people use)", "ms", naive),
        figure("create over HTTP, three slices, credentials", "ms", create, goal=40),
        figure("create, in U", "U", [value / middle for value in create]),
        figure("first query after create, connect included", "ms", first),
        figure("destroy over HTTP: access is cut when it answers", "ms", cut),
        figure("of which the cut in all three backends", "ms", inside, goal=5),
        figure("destroy, in U", "U", [value / middle for value in cut]),
    ]


async def _cycle(client: httpx.AsyncClient, owner: str) -> tuple[float, float, float, float]:
    started = time.perf_counter()
    answer = await client.post("/api/sandboxes", json={"owner": owner, "ttl": "10m"})
    create = time.perf_counter() - started
    answer.raise_for_status()
    sandbox: dict[str, Any] = answer.json()
    started = time.perf_counter()
    connection = await asyncpg.connect(sandbox["connection"]["postgres"]["url"])
    await connection.fetchval("SELECT count(*) FROM communities")
    first = time.perf_counter() - started
    await connection.close()
    before = await _cut_seconds(client)
    started = time.perf_counter()
    answer = await client.delete(f"/api/sandboxes/{sandbox['id']}")
    cut = time.perf_counter() - started
    answer.raise_for_status()
    inside = await _cut_seconds(client) - before
    # the drop goes on in the background: the next round is measured without it
    await client.delete(f"/api/sandboxes/{sandbox['id']}", params={"wait": 10})
    return create * 1000, cut * 1000, first * 1000, inside * 1000


async def _cut_seconds(client: httpx.AsyncClient) -> float:
    """Return what all cuts together have taken, from the metrics."""
    text = (await client.get("/metrics")).text
    found = re.search(r"^valhalla_sandbox_cut_seconds_sum ([0-9.e+-]+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def _timed(work: Any) -> float:
    started = time.perf_counter()
    await work
    return (time.perf_counter() - started) * 1000


async def connect(data_dir: Path, **said: str) -> asyncpg.Connection[asyncpg.Record]:
    """Connect as the control plane does, but for what is ``said``: another database, user or password."""
    cell = CellKey.parse((data_dir / "cell.key").read_text())
    port = int(control(data_dir)["services"]["postgres"]["address"].rpartition(":")[2])
    return await asyncpg.connect(embedded_url(cell, Endpoints(postgres_port=port)), **said)


async def unit(connection: asyncpg.Connection[asyncpg.Record]) -> list[float]:
    """Return the milliseconds of one committed one-row INSERT, many times."""
    await connection.execute("CREATE TABLE IF NOT EXISTS bench_unit (id int)")
    statement = await connection.prepare("INSERT INTO bench_unit VALUES (1)")
    return [await _timed(statement.fetch()) for _ in range(300)]


def bare(name: str, password: str) -> str:
    """Return the statements that a role with a schema and the template's tables need at least."""
    return (
        f"SET LOCAL createrole_self_grant = 'set, inherit';"
        f"CREATE ROLE {name} LOGIN PASSWORD '{password}';"
        f"CREATE SCHEMA {name} AUTHORIZATION {name};"
        f"SET LOCAL ROLE {name}; SET LOCAL search_path = {name}; {Templates().get('community').sql}; RESET ROLE;"
    )


async def _bare_schema(connection: asyncpg.Connection[asyncpg.Record]) -> list[float]:
    samples: list[float] = []
    for _ in range(N):
        name = f"bench_{secrets.token_hex(6)}"
        samples.append(await _timed(connection.execute(bare(name, verifier("secret")))))
        await connection.execute(f"DROP SCHEMA {name} CASCADE; DROP ROLE {name}")
    return samples


async def _database(connection: asyncpg.Connection[asyncpg.Record]) -> list[float]:
    samples: list[float] = []
    for _ in range(15):
        name = f"bench_{secrets.token_hex(6)}"
        samples.append(await _timed(connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")))
        await connection.execute(f"DROP DATABASE {name}")
    return samples
