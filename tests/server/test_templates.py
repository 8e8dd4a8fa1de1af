"""Slices, snapshots and templates over HTTP."""

from __future__ import annotations

import httpx
from tests.server.conftest import Make
from tests.server.plane import refused


async def test_a_slice_that_does_not_exist(team_a: httpx.AsyncClient) -> None:
    """Refused by both ways of making a sandbox in the same words; the member is named."""
    for content_type in ("application/json", "application/json; charset=utf-8"):
        answer = await team_a.post(
            "/api/sandboxes", content=b'{"slices": ["postgres", "mysql"]}', headers={"Content-Type": content_type}
        )
        problem = refused(answer, 422, "slice-unknown")
        assert problem["errors"] == [{"pointer": "/slices/1", "detail": "no slice is called 'mysql'"}]
        assert "sqlite" in problem["known"]
    refused(await team_a.post("/api/sandboxes", json={"slices": "postgres"}), 422, "invalid-request")


async def test_what_a_sandbox_is_told_to_have(team_a: httpx.AsyncClient, make: Make) -> None:
    made = await make(slices=["valkey"])
    assert (made["slices"], made["database"], made["schema"], made["isolation"]) == (["valkey"], None, None, None)
    assert made["connection"].keys() == {"valkey", "env"}
    status = (await team_a.get(f"/api/sandboxes/{made['id']}/status")).json()
    assert (status["slices"], status["database"]) == (["valkey"], None)
    refused(await team_a.get(f"/api/sandboxes/{made['id']}/tables"), 409, "slice-missing")
    refused(await team_a.post(f"/api/sandboxes/{made['id']}/snapshot", json={"template": "x"}), 409, "slice-missing")

    whole = await make()
    status = (await team_a.get(f"/api/sandboxes/{whole['id']}/status")).json()
    assert status["database"] == whole["database"]
    assert "_arena_" in status["database"]
    assert (status["schema"], status["isolation"]) == (whole["schema"], "schema")
    planned = (await team_a.post("/api/sandboxes?dry_run=true", json={"slices": ["sqlite"]})).json()["would"]
    assert (planned["slices"], planned["isolation"]) == (["sqlite"], None)


async def test_a_snapshot_from_beginning_to_end(
    team_a: httpx.AsyncClient, team_b: httpx.AsyncClient, make: Make
) -> None:
    made = await make(template="community")
    path = f"/api/sandboxes/{made['name']}/snapshot"
    refused(await team_b.post(path, json={"template": "http-one"}), 404, "sandbox-not-found")
    refused(await team_a.post(path, json={"template": "Http"}), 422, "invalid-request")
    refused(await team_a.post(path, json={"template": "community"}), 409, "template-taken")
    answer = await team_a.post(path, json={"template": "http-one"})
    assert answer.status_code == 201, answer.text
    taken = answer.json()
    assert (taken["name"], taken["owner"], taken["sandbox"], taken["tables"]) == ("http-one", "http-a", made["id"], 3)
    items = {item["name"]: item for item in (await team_b.get("/api/templates")).json()["items"]}
    assert items["community"] == {"name": "community", "kind": "fixed", "snapshot": None}
    assert items["http-one"]["snapshot"] == taken
    # a snapshot is for everybody, and its end for whoever made it
    copy = await make(team_b, template="http-one")
    assert copy["template"] == "http-one"
    refused(await team_b.delete("/api/templates/http-one"), 404, "snapshot-not-found")
    assert (await team_a.delete("/api/templates/http-one")).status_code == 204
    refused(await team_a.post("/api/sandboxes", json={"template": "http-one"}), 422, "template-unknown")
    actions = [item["action"] for item in (await team_a.get(f"/api/sandboxes/{made['id']}/audit")).json()["items"]]
    assert actions[0] == "snapshot_taken"
