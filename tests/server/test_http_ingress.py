"""Webhooks and upstreams as clients and third parties meet them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook as Official
from tests.server.plane import Plane

from valhalla.sandbox.routing.ingress import Ingress

Make = Callable[..., Awaitable[dict[str, Any]]]
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def key() -> str:
    """A key that no other test has."""
    return f"k{secrets.token_hex(6)}"


@pytest.fixture
async def outside(plane: Plane) -> httpx.AsyncClient:
    """A third party: it has no key."""
    return plane.client(None)


@pytest.fixture
async def receiver(admin: httpx.AsyncClient) -> AsyncIterator[Make]:
    """Make receivers that end with the test."""
    made: list[str] = []

    async def make(**members: Any) -> dict[str, Any]:
        body = {"name": f"r{secrets.token_hex(4)}", "kind": "tenant", "key_from": "body:$.tenant"} | members
        response = await admin.post("/system/ingress/receivers", json=body)
        assert response.status_code == 201, response.text
        made.append(response.json()["name"])
        return response.json()

    yield make
    for name in made:
        await admin.delete(f"/system/ingress/receivers/{name}")


def signed(body: bytes, message: str = "m1") -> dict[str, str]:
    now = datetime.now(UTC)
    stamp = str(int(now.timestamp()))
    signature = Official(SECRET).sign(message, now, body.decode())
    return {"webhook-id": message, "webhook-timestamp": stamp, "webhook-signature": signature}


async def lane(client: httpx.AsyncClient, sandbox: str) -> list[dict[str, Any]]:
    return (await client.get(f"/api/sandboxes/{sandbox}/events")).json()["items"]


async def test_a_webhook_is_stored_on_the_lane_of_its_key(
    team_a: httpx.AsyncClient, make: Make, receiver: Make, outside: httpx.AsyncClient, key: str
) -> None:
    """Once, however often its sender tries; and what its headers say of other lanes decides nothing."""
    mine, other = await make(), await make()
    await team_a.post(f"/api/sandboxes/{mine['id']}/routes", json={"kind": "tenant", "key": key})
    await team_a.post(f"/api/sandboxes/{other['id']}/routes", json={"kind": "tenant", "key": f"{key}x"})
    name = (await receiver(scheme="standard", secrets=[SECRET], type_from="body:$.type"))["name"]
    body = b'{"tenant": "%s", "type": "paid"}' % key.encode()
    misleading = {
        "content-type": "application/json",
        "x-tenant": f"{key}x",
        "baggage": f"valhalla-sandbox={other['name']}",
        "ce-subject": f"{key}x",
    }
    answers = [
        await outside.post(f"/ingress/{name}", content=body, headers=signed(body) | misleading) for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert [answer.json()["duplicate"] for answer in answers] == [False, True, True]
    assert answers[0].json().keys() == {"id", "duplicate"}
    (event,) = await lane(team_a, mine["id"])
    assert (event["subject"], event["type"], event["receiver"]) == (key, "paid", name)
    assert event["data"] == {"tenant": key, "type": "paid"}
    assert await lane(team_a, other["id"]) == []


async def test_what_is_not_signed_is_not_stored(
    team_a: httpx.AsyncClient, make: Make, receiver: Make, outside: httpx.AsyncClient, key: str
) -> None:
    box = await make()
    await team_a.post(f"/api/sandboxes/{box['id']}/routes", json={"kind": "tenant", "key": key})
    name = (await receiver(scheme="standard", secrets=[SECRET]))["name"]
    body = b'{"tenant": "%s"}' % key.encode()
    good = signed(body)
    for headers in ({}, good | {"webhook-id": "m2"}, good | {"webhook-signature": "v1,AAAA"}):
        answer = await outside.post(f"/ingress/{name}", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "webhook-signature-refused")
    assert await lane(team_a, box["id"]) == []


async def test_a_webhook_that_cannot_be_taken_says_why(
    receiver: Make, outside: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    name = (await receiver(max_bytes=100))["name"]
    answers = [
        await outside.post(f"/ingress/{name}", json={}),
        await outside.post(f"/ingress/{name}", json={"tenant": "a" * 200}),
        await outside.post("/ingress/nobody", json={}),
        await outside.get(f"/ingress/{name}"),
    ]
    await admin.patch(f"/system/ingress/receivers/{name}", json={"enabled": False})
    answers.append(await outside.post(f"/ingress/{name}", json={"tenant": "a"}))
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (422, "webhook-key-missing"),
        (413, "webhook-too-large"),
        (404, "receiver-not-found"),
        (405, "method-not-allowed"),
        (404, "receiver-not-found"),
    ]


async def test_a_webhook_that_cannot_be_stored_is_not_accepted(
    receiver: Make, outside: httpx.AsyncClient, plane: Plane, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Its sender is told when to try again; and then it is stored."""
    service, routing = plane.runtime.traffic.receiving, plane.runtime.routing
    name = (await receiver())["name"]
    away = Ingress(routing._url, routing._creds, name="away")

    async def never_joined() -> Ingress:
        return away

    with monkeypatch.context() as patched:
        patched.setattr(service, "_ingress", never_joined)
        patched.setattr(service, "_patience", 0.05)
        answer = await outside.post(f"/ingress/{name}", json={"tenant": key})
    assert (answer.status_code, answer.json()["code"]) == (503, "ingress-fenced")
    assert int(answer.headers["retry-after"]) >= 1
    again = await outside.post(f"/ingress/{name}", json={"tenant": key})
    assert (again.status_code, again.json()["duplicate"]) == (202, False)


async def test_a_key_may_be_in_the_address(
    team_a: httpx.AsyncClient, make: Make, receiver: Make, outside: httpx.AsyncClient, key: str
) -> None:
    box = await make()
    await team_a.post(f"/api/sandboxes/{box['id']}/routes", json={"kind": "tenant", "key": key})
    name = (await receiver(key_from="path"))["name"]
    answer = await outside.post(f"/ingress/{name}/{key}", content=b"plain", headers={"content-type": "text/plain"})
    assert answer.status_code == 202
    assert [event["data"] for event in await lane(team_a, box["id"])] == ["plain"]
    assert (await outside.post(f"/ingress/{name}", content=b"plain")).status_code == 422


async def test_secrets_of_receivers_are_never_shown(receiver: Make, admin: httpx.AsyncClient) -> None:
    """Nor does a change of something else need them."""
    made = await receiver(scheme="standard", secrets=[SECRET])
    path = f"/system/ingress/receivers/{made['name']}"
    changed = await admin.patch(path, json={"description": "x"})
    shown = [made, changed.json(), (await admin.get(path)).json(), (await admin.get(f"{path}/history")).json()]
    assert changed.status_code == 200
    assert SECRET[6:] not in str(shown)
    assert changed.json()["secrets"] == ["***"]


async def test_only_its_owner_says_where_a_sandboxs_requests_go(
    team_a: httpx.AsyncClient, team_b: httpx.AsyncClient, make: Make
) -> None:
    """And who may only read sees no key: it would open the sandbox."""
    box = await make()
    path = f"/api/sandboxes/{box['id']}/upstream"
    body = {"url": "http://127.0.0.1:3000"}
    assert (await team_a.get(path)).json()["code"] == "upstream-not-found"
    assert (await team_b.put(path, json=body)).json()["code"] == "sandbox-not-found"
    put = await team_a.put(path, json=body)
    assert put.status_code == 200
    assert box["id"] in put.json()["key"]
    assert (await team_a.get(path)).json() == put.json()
    for call in (team_b.get(path), team_b.delete(path)):
        assert (await call).json()["code"] == "sandbox-not-found"
    assert (await team_a.delete(path)).status_code == 204
    assert (await team_a.delete(path)).json()["code"] == "upstream-not-found"


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "http://[fd00:ec2::254]", "http://100.100.100.200", "http://10.0.0.1",
     "http://[::ffff:169.254.169.254]:80", "ftp://127.0.0.1", "http://user@127.0.0.1", "http://127.0.0.1/?a=b",
     "http://127.0.0.1:0", "http://168.63.129.16"],
    ids=["metadata", "metadata 6", "metadata of others", "private", "mapped", "ftp", "a user", "a query", "no port",
         "a public one of a cloud"],
)  # fmt: skip
async def test_nothing_is_sent_where_nobody_allowed_it(team_a: httpx.AsyncClient, make: Make, url: str) -> None:
    box = await make()
    answer = await team_a.put(f"/api/sandboxes/{box['id']}/upstream", json={"url": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "upstream-refused")
