"""A page stays cheap whatever lies behind it: a million log lines, jobs and ledger entries, within one transaction."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy.engine.default import DefaultDialect
from tests.server.console.visitor import browser, sign_in
from tests.server.plane import Plane

pytestmark = pytest.mark.slow
ROWS = 1_000_000
# what a page may read, in blocks of 8 kB: time depends on who else is at work, this does not
BLOCKS = 1500
SEEDS = (
    f"""INSERT INTO system_logs (at, level, origin, category, message, principal, correlation_id, context)
        SELECT date_trunc('day', now()) + n * interval '1 ms', 20 + 10 * (n % 50 = 0)::int + 10 * (n % 1000 = 0)::int,
            'server', 'large.' || n % 20, 'line ' || n || ' of many', 'client-' || n % 500, 'r' || n, '{{"n": 1}}'
        FROM generate_series(1, {ROWS}) n""",
    f"""INSERT INTO jobs (id, name, queue, status, args, priority, run_at, created_at)
        SELECT 'large' || n, 'large.' || n % 20, 'large', (ARRAY['succeeded', 'dead', 'cancelled'])[1 + n % 3], '{{}}',
            0, now(), now() - n * interval '1 s'
        FROM generate_series(1, {ROWS}) n""",
    f"""INSERT INTO ledger_entries (at, actor, action, kind, subject, details, nonce, mac)
        SELECT now() - n * interval '1 s', 'client-' || n % 500, 'sandbox.' || n % 7, 'sandbox', 's' || n % 10000,
            '{{}}', decode(md5(n::text), 'hex'), '\\x00'
        FROM generate_series(1, {ROWS}) n""",
)
TABLES = {"logs": "system_logs", "jobs": "jobs", "audit": "ledger_entries"}
PAGES = (
    "logs",
    "logs?level=error",
    "logs?category=large.3",
    "logs?principal=client-7",
    "jobs",
    "jobs?status=dead",
    "jobs?name=large.3",
    "jobs?name=nothing",
    "jobs?queue=large&status=succeeded",
    "audit",
    "audit?kind=sandbox&subject=s77",
    "audit?actor=client-7",
    "audit?actor=nobody",
    "audit?action=sandbox.3",
)
Said = list[tuple[str, tuple[Any, ...]]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """The statements that are sent meanwhile, as the driver is given them."""
    heard: Said = []
    execute: Any = DefaultDialect.do_execute

    def note(self: Any, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        heard.append((statement, tuple(parameters)))
        execute(self, cursor, statement, parameters, context)

    monkeypatch.setattr(DefaultDialect, "do_execute", note)
    return heard


@pytest.mark.timeout(580)
async def test_a_page_before_a_million_rows_reads_little(plane: Plane, said: Said) -> None:
    asked: dict[str, Said] = {}
    async with browser(plane) as client:
        await sign_in(client, await plane.admin_key())
        for page in PAGES:
            said.clear()
            answer: httpx.Response = await client.get(f"/console/{page}")
            assert answer.status_code == 200, (page, answer.text)
            # background work reads the same tables, but never the newest first
            table = f"FROM valhalla.{TABLES[page.partition('?')[0]]} "
            asked[page] = [one for one in said if table in one[0].replace("\n", " ") and " DESC" in one[0]]
            assert asked[page], page
    conn = await asyncpg.connect(plane.runtime.db.dsn, timeout=30, command_timeout=400)
    seeding = conn.transaction()
    await seeding.start()
    try:
        for setting in ("search_path = valhalla", "jit = off", "statement_timeout = 0", "lock_timeout = 0"):
            await conn.execute(f"SET LOCAL {setting}")
        for seed in SEEDS:
            await conn.execute(seed)
        await conn.execute("ANALYZE system_logs; ANALYZE jobs; ANALYZE ledger_entries")
        heavy: list[str] = []
        for page, statements in asked.items():
            blocks, took = 0, 0.0
            for statement, parameters in statements:
                for _ in range(2):
                    found = await conn.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *parameters)
                plan = json.loads(found)[0]
                blocks += plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
                took += plan["Execution Time"] + plan["Planning Time"]
            print(f"{page}: {took:.1f} ms, {blocks} blocks, {len(statements)} statements")
            if blocks > BLOCKS:
                heavy.append(f"{page}: {blocks} blocks, {took:.1f} ms: {statements[0][0][:400]}")
        assert heavy == []
    finally:
        await seeding.rollback()
        await conn.close()
