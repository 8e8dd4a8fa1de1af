"""The sandbox routes: what they answer when all is well."""

from __future__ import annotations

import asyncio

import asyncpg
import httpx
from tests.server.conftest import Make
from tests.server.plane import Plane, refused

from valhalla.sandbox.wire import EXAMPLE

ROUTE = {"kind": "discord.guild", "key": "811234567890123499"}


async def test_create_answers_with_a_usable_sandbox(team_a: httpx.AsyncClient) -> None:
    response = await team_a.post("/api/sandboxes", json={"name": "http-usable", "ttl": "90m"})
    made = response.json()

    assert response.status_code == 201
    assert response.headers["location"] == f"/api/sandboxes/{made['id']}"
    assert response.headers["cache-control"] == "no-store"
    assert (made["name"], made["owner"], made["status"]) == ("http-usable", "http-a", "running")
    connection = await asyncpg.connect(made["connection"]["postgres"]["url"])
    assert await connection.fetchval("SELECT current_schema()") == made["schema"]
    await connection.close()

    found = (await team_a.get(response.headers["location"])).json()
    assert found == {key: value for key, value in made.items() if key not in {"connection", "duration_ms"}}
    assert (await team_a.get("/api/sandboxes/http-usable")).json() == found

    ended = await team_a.delete(f"/api/sandboxes/{made['id']}", params={"wait": 10})
    assert (ended.status_code, ended.json()["status"]) == (200, "destroyed")
    assert (await team_a.get(f"/api/sandboxes/{made['id']}")).json()["status"] == "destroyed"
    assert (await team_a.delete(f"/api/sandboxes/{made['id']}")).status_code == 200


async def test_the_documented_example_works(team_a: httpx.AsyncClient) -> None:
    response = await team_a.post("/api/sandboxes", json=EXAMPLE)

    assert response.status_code == 201, response.text
    assert response.json()["tags"] == EXAMPLE["tags"]
    await team_a.delete(f"/api/sandboxes/{response.json()['id']}")


async def test_pages_and_filters(team_a: httpx.AsyncClient, admin: httpx.AsyncClient, make: Make) -> None:
    made = [await make(tags=["paged", f"n{number}"]) for number in range(3)]
    gone = await make(tags=["paged"])
    await team_a.delete(f"/api/sandboxes/{gone['id']}", params={"wait": 10})

    seen: list[str] = []
    cursor: dict[str, str] = {}
    for left in (2, 1, 0):
        page = (await team_a.get("/api/sandboxes", params={"limit": 1, "tag": "paged", **cursor})).json()
        assert page["total"] == 3
        seen += [item["id"] for item in page["items"]]
        assert (page["next"] is None) == (left == 0)
        cursor = {"cursor": page["next"]}
    assert seen == [item["id"] for item in reversed(made)]

    async def ids(client: httpx.AsyncClient = team_a, **params: object) -> set[str]:
        page = (await client.get("/api/sandboxes", params={"tag": "paged", **params})).json()
        return {item["id"] for item in page["items"]}

    living = {item["id"] for item in made}
    assert await ids(include_destroyed=True) == living | {gone["id"]}
    assert await ids(status="destroyed") == {gone["id"]}
    assert await ids(status=["running", "destroyed"]) == living | {gone["id"]}
    assert await ids(tag="n1") == {made[1]["id"]}
    assert await ids(admin, owner="http-a") == living
    assert await ids(admin, owner="http-b") == set()
    assert await ids(owner="http-b") == set()


async def test_extend_up_to_the_maximum(team_a: httpx.AsyncClient, make: Make) -> None:
    made = await make(ttl="1h")

    once = (await team_a.post(f"/api/sandboxes/{made['id']}/extend", json={"ttl": 3600})).json()
    assert once["capped"] is False
    assert once["expires_at"] > made["expires_at"]
    far = (await team_a.post(f"/api/sandboxes/{made['id']}/extend", json={"ttl": "168h"})).json()
    assert far["capped"] is True
    assert far["expires_at"] == far["max_expires_at"]


async def test_status_connection_and_tables(team_a: httpx.AsyncClient, make: Make) -> None:
    made = await make(template="community")
    path = f"/api/sandboxes/{made['name']}"

    status = (await team_a.get(f"{path}/status")).json()
    assert (status["health"], status["reasons"]) == ("healthy", [])
    assert status["checks"].keys() == {"postgres", "valkey", "nats", "ttl", "routes", "lane"}

    connection = await team_a.get(f"{path}/connection")
    assert connection.headers["cache-control"] == "no-store"
    assert connection.json().keys() == made["connection"].keys() == {"postgres", "valkey", "nats", "env"}
    for part in ("postgres", "valkey"):
        assert connection.json()[part] == made["connection"][part]
    assert connection.json()["env"]["SANDBOX_ID"] == made["id"]

    tables = (await team_a.get(f"{path}/tables")).json()
    assert {item["table"] for item in tables} == {"communities", "profiles", "badges"}
    assert {item["rows"] for item in tables} == {0}


async def test_the_connection_model_drops_nothing(plane: Plane, team_a: httpx.AsyncClient, make: Make) -> None:
    made = await make()
    sandbox = (await team_a.get(f"/api/sandboxes/{made['id']}/connection")).json()
    from valhalla.kernel.principal import SYSTEM

    whole = await plane.runtime.sandboxes.connection(SYSTEM, made["id"])
    assert {name: set(part) for name, part in sandbox.items()} == {name: set(part) for name, part in whole.items()}


async def test_routes_and_audit(team_a: httpx.AsyncClient, make: Make) -> None:
    made = await make()
    path = f"/api/sandboxes/{made['id']}"

    linked = await team_a.post(f"{path}/routes", json=ROUTE)
    assert (linked.status_code, linked.json()["key"]) == (201, ROUTE["key"])
    assert (await team_a.post(f"{path}/routes", json=ROUTE)).status_code == 201
    other = await make()
    refused(await team_a.post(f"/api/sandboxes/{other['id']}/routes", json=ROUTE), 409, "route-taken")
    assert [route["key"] for route in (await team_a.get(path)).json()["routes"]] == [ROUTE["key"]]
    unlink = f"{path}/routes/{ROUTE['kind']}/{ROUTE['key']}"
    assert (await team_a.delete(unlink)).status_code == 204
    refused(await team_a.delete(unlink), 404, "route-not-found")

    await team_a.delete(path, params={"wait": 10})
    refused(await team_a.post(f"{path}/routes", json=ROUTE), 409, "sandbox-not-running")
    refused(await team_a.post(f"{path}/extend", json={"ttl": "1h"}), 409, "sandbox-not-running")
    refused(await team_a.get(f"{path}/connection"), 409, "sandbox-not-running")
    refused(await team_a.get(f"{path}/tables"), 409, "sandbox-not-running")
    assert (await team_a.get(f"{path}/status")).json()["health"] == "unhealthy"

    page = (await team_a.get(f"{path}/audit", params={"limit": 2})).json()
    actions = [entry["action"] for entry in page["items"]]
    while page["next"]:
        page = (await team_a.get(f"{path}/audit", params={"limit": 2, "cursor": page["next"]})).json()
        actions += [entry["action"] for entry in page["items"]]
    assert actions[0] == "destroyed"
    assert actions[-1] == "created"
    assert {"route_linked", "route_unlinked", "destroying", "status_changed"} <= set(actions)


async def test_the_audit_has_the_correlation_id(team_a: httpx.AsyncClient) -> None:
    mine = {"X-Correlation-ID": "deploy:42"}
    made = (await team_a.post("/api/sandboxes", json={"template": "empty"}, headers=mine)).json()
    await team_a.delete(f"/api/sandboxes/{made['id']}")

    entries = (await team_a.get(f"/api/sandboxes/{made['id']}/audit")).json()["items"]
    assert entries[-1]["correlation_id"] == "deploy:42"


async def test_a_dry_run_makes_nothing(plane: Plane, team_a: httpx.AsyncClient, make: Make) -> None:
    before = await plane.rows()
    answer = await team_a.post("/api/sandboxes", params={"dry_run": True}, json={"name": "http-dry", "ttl": "1h"})

    assert answer.status_code == 200
    assert answer.json()["would"]["name"] == "http-dry"
    assert await plane.rows() == before
    await make(name="http-dry")
    again = await team_a.post("/api/sandboxes", params={"dry_run": True}, json={"name": "http-dry"})
    refused(again, 409, "sandbox-name-taken")


async def test_reap_is_the_admins(admin: httpx.AsyncClient, team_a: httpx.AsyncClient) -> None:
    report = await admin.post("/api/sandboxes/reap", params={"dry_run": True})

    assert (report.status_code, report.json()["dry_run"]) == (200, True)
    refused(await team_a.post("/api/sandboxes/reap", params={"dry_run": True}), 403, "forbidden")


async def test_an_idempotency_key_makes_one(plane: Plane, team_a: httpx.AsyncClient, team_b: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "http-once"}
    before = await plane.rows()
    body = {"template": "empty", "ttl": "1h"}

    answers = await asyncio.gather(*(team_a.post("/api/sandboxes", json=body, headers=headers) for _ in range(4)))
    made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    for answer in answers:
        if answer.status_code != 201:
            assert refused(answer, 409, "idempotency-in-progress")["retry_after"] == 1.0
            assert answer.headers["retry-after"] == "1"
    assert len(made) == 1
    assert await plane.rows() == before + 1

    replay = await team_a.post("/api/sandboxes", json=body, headers=headers)
    assert (replay.status_code, replay.headers["idempotent-replayed"]) == (201, "true")
    assert {replay.json()["id"]} == made
    refused(
        await team_a.post("/api/sandboxes", json=body | {"ttl": "2h"}, headers=headers), 422, "idempotency-key-reuse"
    )
    other = await team_b.post("/api/sandboxes", json=body, headers=headers)
    assert other.status_code == 201
    assert other.json()["id"] not in made
    await team_b.delete(f"/api/sandboxes/{other.json()['id']}")
    await team_a.delete(f"/api/sandboxes/{made.pop()}", params={"wait": 10})
    after = await team_a.post("/api/sandboxes", json=body, headers=headers)
    assert (after.status_code, after.json()["connection"]) == (201, None)
