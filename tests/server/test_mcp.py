"""``valhalla mcp`` through the official SDK's client, on a real server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane
from tests.server.serving import serving

from valhalla.kit.trace import new_trace, render
from valhalla.sdk.aclient import AsyncClient

mcp = pytest.importorskip("mcp")
SECONDS = 30


@asynccontextmanager
async def an_agent(plane: Plane, key: str) -> AsyncGenerator[Any]:
    """An agent with a key of its own; no fixture, as the SDK wants to end in the task in which it began."""
    from valhalla.cli.mcp_server.server import build

    async with (
        serving(plane.app) as address,
        AsyncClient(f"http://{address}", key) as client,
        mcp.Client(build(client)) as agent,
    ):
        yield agent


async def call(agent: Any, tool: str, **arguments: Any) -> Any:
    result = await agent.call_tool(tool, arguments)
    assert not result.is_error, result
    found = [json.loads(part.text) for part in result.content]
    return found[0] if len(found) == 1 else found


@pytest.fixture(scope="module")
async def with_sandbox(plane: Plane, issue: Issue) -> AsyncIterator[str]:
    """The key of an agent that has the sandbox ``agents-sql``."""
    key = (await issue("mcp-sql", role="developer"))["key"]
    client = plane.client(key)
    body = {"name": "agents-sql", "template": "empty"}
    made = (await client.post("/api/sandboxes", json=body)).json()
    yield key
    await client.delete(f"/api/sandboxes/{made['id']}")


async def test_a_sandbox_is_made_used_and_destroyed(plane: Plane, issue: Issue) -> None:
    key = (await issue("mcp-agent", role="developer"))["key"]
    async with an_agent(plane, key) as agent:
        planned = await call(agent, "create_sandbox", name="by-agent", dry_run=True)
        assert planned["dry_run"] is True
        made = await call(agent, "create_sandbox", name="by-agent")
        assert "connection" not in made
        try:
            await call(agent, "run_sql", sandbox="by-agent", sql="create table t (n int, at timestamptz default now())")
            wrote = await call(
                agent, "run_sql", sandbox="by-agent", sql="insert into t select generate_series(1, 300) returning n"
            )
            assert (len(wrote["rows"]), wrote["status"], wrote["cut"]) == (200, "300 rows", ["cut after 200 rows"])
            found = await call(agent, "run_sql", sandbox="by-agent", sql="select * from t order by n;")
            assert (len(found["rows"]), found["rows"][0]["n"], found["more"]) == (200, 1, True)
            assert found["cut"] == ["cut after 200 rows"]
            counted = await call(agent, "run_sql", sandbox="by-agent", sql="select count(*) from t")
            assert counted == {"status": "SELECT 1", "rows": [{"count": 300}], "more": False}
            wrong = await agent.call_tool("run_sql", {"sandbox": "by-agent", "sql": "select 1/0"})
            assert wrong.is_error
            assert "division by zero" in wrong.content[0].text
            planned = await call(agent, "destroy_sandbox", sandbox="by-agent", dry_run=True)
            assert (planned["would"]["id"], planned["would"]["status"]) == (made["id"], "running")
            assert planned["would"]["tables"] == [{"table": "t", "rows": 300}]
            listed = await call(agent, "list_sandboxes")
            assert (listed["id"], listed["status"]) == (made["id"], "running")
        finally:
            gone = await call(agent, "destroy_sandbox", sandbox=made["id"])
        assert gone["status"] in ("destroying", "destroyed")
        again = await call(agent, "destroy_sandbox", sandbox=made["id"], dry_run=True)
        assert (again["would"], "already" in again["note"]) == ({}, True)


@pytest.mark.parametrize(
    ("sql", "rows", "cut"),
    [
        # far more than would fit: no row after the last that is shown is computed
        ("select generate_series(1, 2000000000000) as n", 200, ["cut after 200 rows"]),
        ("select 'é' as a, repeat('x', 9000) as b", 1, ["cells cut after 4000 characters in: b"]),
        ("select 1 as a, '\\xff00'::bytea as b, 'NaN'::float as c, '{\"k\": [1]}'::jsonb as d", 1, None),
        ("with one as (select 1 as a) select a from one -- returning", 1, None),
        ("show statement_timeout", 1, None),
        ("explain select 1", 1, None),
        ("create table r as select 'returning' as a", 0, None),
        ("vacuum", 0, None),
    ],
)
async def test_what_comes_back_of_a_statement(
    plane: Plane, with_sandbox: str, sql: str, rows: int, cut: list[str] | None
) -> None:
    async with an_agent(plane, with_sandbox) as agent:
        found = await call(agent, "run_sql", sandbox="agents-sql", sql=sql)
    assert (len(found["rows"]), found.get("cut")) == (rows, cut)
    if cut and "cells" in cut[0]:
        assert found["rows"][0]["b"].endswith("… (cut, 9000 characters in all)")
        assert len(found["rows"][0]["b"]) < 4100
    if "bytea" in sql:
        assert found["rows"] == [{"a": 1, "b": "\\xff00", "c": "nan", "d": {"k": [1]}}]
    if "show" in sql:
        assert found["rows"] == [{"statement_timeout": "30s"}]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("select 1; select 2", "one statement at a time"),
        ("selec 1", "syntax error"),
        ("select * from nowhere", "does not exist"),
        ("select pg_sleep(9)", "A statement may take"),
    ],
)
async def test_a_statement_that_is_refused(
    plane: Plane, with_sandbox: str, monkeypatch: pytest.MonkeyPatch, sql: str, says: str
) -> None:
    if "sleep" in sql:
        monkeypatch.setattr("valhalla.cli.mcp_server.statements.SECONDS", 1)
    async with an_agent(plane, with_sandbox) as agent:
        wrong = await agent.call_tool("run_sql", {"sandbox": "agents-sql", "sql": sql})
    assert wrong.is_error
    assert says in wrong.content[0].text


async def test_the_command_speaks_over_standard_input_and_output(plane: Plane, issue: Issue) -> None:
    key = (await issue("mcp-stdio", role="developer"))["key"]
    async with serving(plane.app) as address:
        env = {"PATH": os.environ["PATH"], "VALHALLA_URL": f"http://{address}", "VALHALLA_API_KEY": key}
        command = mcp.StdioServerParameters(command=sys.executable, args=["-m", "valhalla.cli", "mcp"], env=env)
        async with mcp.Client(command) as agent:
            tools = {tool.name: tool.description for tool in (await agent.list_tools()).tools}
            assert tools.keys() >= {"create_sandbox", "run_sql", "destroy_sandbox", "search_logs", "read_trace"}
            assert all(number in tools["run_sql"] for number in ("30 seconds", "200 rows", "4000 characters"))
            made = await call(agent, "create_sandbox", name="over-stdio")
            try:
                found = await call(agent, "run_sql", sandbox="over-stdio", sql="select 6 * 7 as n")
                assert found["rows"] == [{"n": 42}]
            finally:
                gone = await call(agent, "destroy_sandbox", sandbox=made["id"])
            assert gone["status"] in ("destroying", "destroyed")


async def test_an_agent_finds_what_happened(plane: Plane, issue: Issue, admin: httpx.AsyncClient) -> None:
    trace = new_trace()
    headers = {"traceparent": render(trace), "X-Correlation-ID": "mcp-happened"}
    entry = {"level": "error", "category": "shop", "message": "the agent should find this"}
    assert (await admin.post("/system/logs", json=entry, headers=headers)).status_code < 300
    key = (await issue("mcp-reader", "logs:read", "traces:read"))["key"]
    async with an_agent(plane, key) as agent, asyncio.timeout(SECONDS):
        wanted = {"text": "agent should find", "level": "error", "correlation_id": "mcp-happened", "limit": 5}
        while not (found := await call(agent, "search_logs", **wanted)):
            await asyncio.sleep(0.05)
        line = found if isinstance(found, dict) else found[0]
        assert (line["message"], line["level"]) == ("the agent should find this", "error")
        assert await call(agent, "search_logs", **{**wanted, "level": "critical"}) == []
        while (shown := await agent.call_tool("read_trace", {"trace_id": trace.trace_id})).is_error:
            await plane.runtime.features.tracing.tracer.batches.flush()
        [root] = json.loads(shown.content[0].text)["roots"]
        assert (root["name"], root["parent_id"]) == ("POST /system/logs", trace.span_id)
        nowhere = await agent.call_tool("read_trace", {"trace_id": "0" * 31 + "1"})
        assert (nowhere.is_error, "not-found" in nowhere.content[0].text) == (True, True)


async def test_a_proposal_can_be_tried_without_anything_happening(
    plane: Plane, issue: Issue, admin: httpx.AsyncClient
) -> None:
    victim = await issue("mcp-victim", "sandbox:read")
    key = (await issue("mcp-planner", "keys:write", role="operator"))["key"]
    async with an_agent(plane, key) as agent:
        proposal = {"name": "key.revoke-owner", "arguments": {"owner": "mcp-victim"}, "reason": "tried only"}
        planned = await call(agent, "propose_action", **proposal, dry_run=True)
    assert planned["result"] == {"revoked": [victim["id"]]}
    assert planned.get("hold") is None
    assert (await plane.client(victim["key"]).get("/api/sandboxes")).status_code == 200
    held = (await admin.get("/system/holds", params={"requester": "mcp-planner"})).json()["items"]
    assert held == []


async def test_what_is_irreversible_waits_for_people(plane: Plane, issue: Issue, admin: httpx.AsyncClient) -> None:
    key = (await issue("mcp-operator", "keys:write", role="operator"))["key"]
    async with an_agent(plane, key) as agent:
        arguments = {"owner": "nobody-of-this-name"}
        held = await call(agent, "propose_action", name="key.revoke-owner", arguments=arguments, reason="an agent asks")
        assert held["status"] == "held"
        waiting = await call(agent, "wait_for_approval", hold=held["hold"], timeout=0)
        assert waiting["state"] == "held"
        assert (await admin.post(f"/system/holds/{held['hold']}/deny", json={"reason": "no"})).status_code == 200
        assert (await call(agent, "wait_for_approval", hold=held["hold"], timeout=20))["state"] == "denied"


async def test_the_key_decides_what_an_agent_may(plane: Plane, issue: Issue) -> None:
    async with an_agent(plane, (await issue("mcp-viewer", role="viewer"))["key"]) as agent:
        refused = await agent.call_tool("create_sandbox", {})
        assert refused.is_error
        assert "forbidden" in refused.content[0].text
        assert {tool.name for tool in (await agent.list_tools()).tools} >= {"run_sql", "propose_action"}
