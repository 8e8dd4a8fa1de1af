"""The token of a sandbox's bot over HTTP: its owner's alone."""

from __future__ import annotations

import httpx
from tests.server.conftest import Issue, Make
from tests.server.plane import Plane, refused


async def test_a_bots_token_is_its_owners(make: Make, team_a: httpx.AsyncClient, team_b: httpx.AsyncClient) -> None:
    """It is the same each time, is kept by nobody in between, and ends with the sandbox."""
    box = await make()
    path = f"/api/sandboxes/{box['name']}/discord-token"
    first, second = await team_a.get(path), await team_a.get(path)

    assert first.json() == second.json()
    assert first.json()["sandbox"] == box["id"]
    assert first.json()["token"].startswith(f"valhalla.{box['id']}.")
    assert first.headers["cache-control"] == "no-store"
    assert (await team_b.get(path)).status_code == 404
    await team_a.delete(f"/api/sandboxes/{box['id']}")
    refused(await team_a.get(f"/api/sandboxes/{box['id']}/discord-token"), 409, "sandbox-not-running")


async def test_who_may_only_read_gets_no_token(make: Make, issue: Issue, plane: Plane) -> None:
    """It writes in guilds."""
    box = await make()
    reader = plane.client((await issue("team-a", "sandbox:read"))["key"])
    assert (await reader.get(f"/api/sandboxes/{box['id']}/discord-token")).status_code == 403
