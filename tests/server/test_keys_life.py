"""The life of a key: roles, networks, rotation with overlap, switching off, the last use, the last admin."""

from __future__ import annotations

from typing import Any

import httpx
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

KEYS = "/system/api-clients"


async def works(plane: Plane, key: str) -> bool:
    answer = await plane.client(key).get("/api/sandboxes")
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


async def test_rotation_with_overlap_and_without(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    first = await issue("turning", "sandbox:read")
    path = f"{KEYS}/{first['id']}"

    second = (await admin.post(f"{path}/rotate", json={"grace_seconds": 60})).json()
    assert second["id"] == first["id"]
    assert second["overlap_until"] is not None
    assert [await works(plane, one["key"]) for one in (first, second)] == [True, True]
    last = (await admin.post(f"{path}/rotate", json={"grace_seconds": 0})).json()
    assert [await works(plane, one["key"]) for one in (first, second, last)] == [False, False, True]
    for body in ({}, {"grace_seconds": -1}, {"grace_seconds": 31 * 86_400}):
        refused(await admin.post(f"{path}/rotate", json=body), 422, "invalid-request")
    history = (await admin.get(f"{path}/history")).text
    assert "digest" not in history
    assert last["key"][-20:] not in history


async def test_switching_off_and_on(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    made = await issue("switched", "sandbox:read")
    path = f"{KEYS}/{made['id']}"

    assert (await admin.post(f"{path}/deactivate")).json()["active"] is False
    assert not await works(plane, made["key"])
    refused(await admin.post(f"{path}/rotate", json={"grace_seconds": 0}), 409, "client-inactive")
    assert (await admin.post(f"{path}/activate")).json()["active"] is True
    assert await works(plane, made["key"])
    refused(await admin.post(f"{KEYS}/nobody/deactivate"), 404, "client-not-found")


async def test_a_key_is_bound_to_networks(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    made = await issue("bound", "sandbox:read", networks=["10.9.0.0/16", "2001:db8::/32"])
    client = plane.client(made["key"])

    refused(await client.get("/api/sandboxes"), 403, "key-address-refused")
    patched = await admin.patch(f"{KEYS}/{made['id']}", json={"networks": ["127.0.0.1"]})
    assert patched.json()["networks"] == ["127.0.0.1/32"]
    assert (await client.get("/api/sandboxes")).status_code == 200


async def test_changing_a_client(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    made = await issue("changed", "sandbox:read", name="before")
    path = f"{KEYS}/{made['id']}"

    old = (await admin.get(path)).headers["etag"]
    patched = await admin.patch(path, json={"name": "after", "scopes": ["sandbox:write"]}, headers={"If-Match": old})
    assert (patched.json()["name"], patched.json()["scopes"]) == ("after", ["sandbox:write"])
    assert "digest" not in patched.text
    refused(await admin.patch(path, json={"name": "again"}, headers={"If-Match": old}), 412, "precondition-failed")
    assert await works(plane, made["key"])
    for body in (
        {"scopes": []},
        {"scopes": ["fly"]},
        {"networks": ["x"]},
        {"limits": ["-1/s"]},
        {"key": "x"},
        {"role": "god"},
    ):
        assert (await admin.patch(path, json=body)).status_code == 422, body
    dry = await admin.request("DELETE", path, params={"dry_run": True})
    assert dry.json()["items"][0]["op"] == "delete"
    assert await works(plane, made["key"])
    refused(await admin.put(path, json={"owner": "changed", "scopes": ["admin"]}), 405, "method-not-allowed")
    found = (await admin.get(KEYS, params={"q": "after", "owner": "changed"})).json()["items"]
    assert [item["id"] for item in found] == [made["id"]]


async def test_nobody_gives_more_than_they_have(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    keeper = plane.client((await issue("keeper", "keys:write", "sandbox:*"))["key"])
    theirs = await issue("victim", "audit:read")

    made = await keeper.post(KEYS, json={"owner": "helper", "scopes": ["sandbox:read"]})
    assert made.status_code == 201
    for answer in (
        await keeper.post(KEYS, json={"owner": "helper", "scopes": ["admin"]}),
        await keeper.post(KEYS, json={"owner": "helper", "role": "viewer"}),
        await keeper.patch(f"{KEYS}/{made.json()['id']}", json={"scopes": ["audit:read"]}),
        await keeper.patch(f"{KEYS}/{theirs['id']}", json={"scopes": ["sandbox:read"]}),
        await keeper.post(f"{KEYS}/{theirs['id']}/rotate", json={"grace_seconds": 0}),
        await keeper.delete(f"{KEYS}/{theirs['id']}"),
    ):
        refused(answer, 403, "forbidden" if answer.json()["code"] == "forbidden" else "beyond-own-rights")
    viewer = plane.client((await issue("looker", role="viewer"))["key"])
    assert (await viewer.get("/api/sandboxes")).status_code == 200
    refused(await viewer.post("/api/sandboxes", json={}), 403, "forbidden")


async def test_the_last_use_is_told_and_only_moves_forward(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue
) -> None:
    made = await issue("used", "sandbox:read")
    path = f"{KEYS}/{made['id']}"
    used = plane.runtime.features.clients.last_used

    assert (await admin.get(path)).json()["last_used_at"] is None
    await works(plane, made["key"])
    first = (await admin.get(path)).json()["last_used_at"]
    assert first is not None
    at = used.of(made["id"])
    assert at is not None
    await used.exchange()
    used.mark(made["id"], at.replace(year=2020))
    await used.exchange()
    assert (await admin.get(path)).json()["last_used_at"] == first
    another = type(used)(plane.runtime.db)
    await another.exchange()
    assert another.of(made["id"]) == at


async def test_the_last_admin_cannot_be_lost_by_accident(plane: Plane, admin: httpx.AsyncClient) -> None:
    """Every other admin goes first; then the one that is left stays."""
    service = plane.runtime.features.clients.service
    import contextlib

    from valhalla.features.operations.clients import guards
    from valhalla.features.operations.clients.errors import LastAdmin
    from valhalla.kernel.principal import SYSTEM

    def attempt(conn: Any) -> list[str]:
        """Inside a transaction that is undone: the other tests go on with their admin."""
        clients, said = service.registry.load(conn)[1], list[str]()
        admins = [one for one in clients if guards.is_admin(one.value, service.clock.now())]
        for one in admins[:-1]:
            service.keep_admin(conn, [service.registry.delete(conn, one.key, actor="t")])
        last = admins[-1]
        for change in (
            service.registry.delete(conn, last.key, actor="t", dry_run=True),
            service.registry.put(conn, last.key, _without(last.value), actor="t", dry_run=True),
        ):
            with contextlib.suppress(LastAdmin):
                service.keep_admin(conn, [change])
                said.append("lost")
            service.keep_admin(conn, [change], confirm=True)
        conn.rollback()
        return said

    assert await plane.runtime.db.run(attempt) == []
    assert SYSTEM.is_admin
    assert (await admin.get(KEYS)).status_code == 200


def _without(client: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(client, scopes=("sandbox:read",), role=None)
