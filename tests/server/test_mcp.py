"""``valhalla mcp`` through the official SDK's client, on a real server."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane
from tests.server.serving import serving

from valhalla.sdk.aclient import AsyncClient

mcp = pytest.importorskip("mcp")
pytestmark = pytest.mark.slow


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


async def test_a_sandbox_is_made_used_and_destroyed(plane: Plane, issue: Issue) -> None:
    key = (await issue("mcp-agent", role="developer"))["key"]
    async with an_agent(plane, key) as agent:
        planned = await call(agent, "create_sandbox", name="by-agent", dry_run=True)
        assert planned["dry_run"] is True
        made = await call(agent, "create_sandbox", name="by-agent")
        assert "connection" not in made
        try:
            await call(agent, "run_sql", sandbox="by-agent", sql="create table t (n int, at timestamptz default now())")
            await call(agent, "run_sql", sandbox="by-agent", sql="insert into t select generate_series(1, 300)")
            found = await call(agent, "run_sql", sandbox="by-agent", sql="select * from t order by n")
            assert (len(found["rows"]), found["rows"][0]["n"], found["more"]) == (200, 1, True)
            wrong = await agent.call_tool("run_sql", {"sandbox": "by-agent", "sql": "select 1/0"})
            assert wrong.is_error
            assert "division by zero" in wrong.content[0].text
        finally:
            gone = await call(agent, "destroy_sandbox", sandbox=made["id"])
        assert gone["status"] in ("destroying", "destroyed")


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
