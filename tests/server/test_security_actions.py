"""Requested actions: chains of approvals, two people who are one, evidence, and one execution of what was approved."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

PATH = "/system/security/actions"
CHAINS = "/system/security/approval-chains"
SECONDS = 20
ASK = ("actions:write", "operations:write", "keys:write", "sandbox:read")
DECIDE = ("actions:write", "actions:approve")


@pytest.fixture(scope="module")
async def people(plane: Plane, issue: Issue) -> dict[str, httpx.AsyncClient]:
    """Who may do what, by name; ``ann`` has two keys."""
    keys = {
        "asker": await issue("act-asker", *ASK),
        "ann": await issue("act-ann", *DECIDE, "role:security"),
        "ann-again": await issue("act-ann", *DECIDE, "role:security"),
        "asker-again": await issue("act-asker", *DECIDE, "role:security"),
        "bob": await issue("act-bob", *DECIDE, "role:security"),
        "fay": await issue("act-fay", *DECIDE, "role:finance"),
        "reader": await issue("act-reader", "actions:read"),
    }
    return {name: plane.client(made["key"]) for name, made in keys.items()}


@pytest.fixture
async def chain(admin: httpx.AsyncClient) -> Any:
    """Two of security, then one of finance, for keys whose name says so."""
    body = {
        "name": "act-test",
        "when": 'action.type == "key.revoke" && action.payload.id.startsWith("vh_test_chain") || '
        'action.type == "key.deactivate" && requester.owner == "act-asker"',
        "approval": "2 of security then 1 of finance",
        "expires_in": 3600,
    }
    answer = await admin.post(CHAINS, json=body)
    assert answer.status_code == 201, answer.text
    yield body
    assert (await admin.delete(f"{CHAINS}/act-test")).status_code == 204


async def ask(client: httpx.AsyncClient, type_: str, **payload: Any) -> httpx.Response:
    return await client.post(PATH, json={"type": type_, "payload": payload, "reason": "a test"})


async def executed(plane: Plane, client: httpx.AsyncClient, id_: str) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS):
        while (found := (await client.get(f"{PATH}/{id_}")).json())["state"] in ("approved", "executing"):
            await plane.runtime.features.admin.service.executor.execute_approved()
    return found


async def test_along_a_chain(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, people: dict[str, httpx.AsyncClient], chain: Any
) -> None:
    victim = await issue("act-victim", "sandbox:read")
    asked = await ask(people["asker"], "key.deactivate", id=victim["id"])
    assert asked.status_code == 201, asked.text
    found = asked.json()
    id_ = found["id"]
    assert asked.headers["location"] == f"{PATH}/{id_}"
    assert (found["type"], found["state"], found["payload"], found["reason"]) == (
        "key.deactivate",
        "held",
        {"id": victim["id"]},
        "a test",
    )
    assert (found["approval"], found["missing"]) == ("2 of security then 1 of finance", "2 of security")
    assert id_ in {one["id"] for one in (await people["reader"].get(PATH, params={"limit": 200})).json()["items"]}
    same = await people["reader"].get(PATH, params={"type": "key.deactivate", "limit": 200})
    assert {one["type"] for one in same.json()["items"]} == {"key.deactivate"}

    async def approve(name: str, **body: Any) -> httpx.Response:
        return await people[name].post(f"{PATH}/{id_}/approve", json=body)

    refused(await approve("reader"), 403, "forbidden")
    refused(await approve("asker-again"), 403, "guard-not-an-approver")
    refused(await approve("fay"), 403, "guard-not-an-approver")
    refused(await approve("ann", fingerprint="00"), 422, "invalid-request")
    assert (await approve("ann", fingerprint=found["fingerprint"])).json()["missing"] == "1 of security"
    refused(await approve("ann-again"), 403, "guard-not-an-approver")
    assert (await approve("bob", reason="seen")).json()["missing"] == "1 of finance"
    assert (await plane.client(victim["key"]).get("/api/sandboxes")).status_code == 200
    assert (await approve("fay")).json()["state"] == "approved"

    done = await executed(plane, people["reader"], id_)
    assert done["state"] == "succeeded"
    refused(await plane.client(victim["key"]).get("/api/sandboxes"), 401, "unauthenticated")
    said = (await people["reader"].get(f"{PATH}/{id_}/approvals")).json()["items"]
    assert [(one["stage"], one["by"], one["decision"]) for one in said] == [
        (0, "act-ann", "approve"),
        (0, "act-bob", "approve"),
        (1, "act-fay", "approve"),
    ]
    assert said[1]["reason"] == "seen"


async def test_a_chain_holds_what_is_executed_directly(
    plane: Plane, issue: Issue, people: dict[str, httpx.AsyncClient], chain: Any
) -> None:
    victim = await issue("act-direct", "sandbox:read")
    body = {"arguments": {"id": victim["id"]}, "reason": "at once"}
    held = await people["asker"].post("/system/admin/actions/key.deactivate", json=body)
    assert (held.status_code, held.json()["status"]) == (202, "held")
    hold = held.json()["hold"]
    assert (await people["reader"].get(f"{PATH}/{hold}")).json()["approval"] == chain["approval"]
    assert (await people["bob"].post(f"{PATH}/{hold}/deny", json={"reason": "no"})).json()["state"] == "denied"
    assert (await plane.client(victim["key"]).get("/api/sandboxes")).status_code == 200


async def test_a_changed_chain_makes_approvals_stale(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, people: dict[str, httpx.AsyncClient]
) -> None:
    victim = await issue("act-stale", "sandbox:read")
    id_ = (await ask(people["asker"], "key.deactivate", id=victim["id"])).json()["id"]
    assert (await people["reader"].get(f"{PATH}/{id_}")).json()["approval"] == "1 of anyone"
    assert (await people["ann"].post(f"{PATH}/{id_}/approve", json={})).json()["state"] == "approved"
    # what was approved by one person now needs two
    body = {"name": "act-later", "when": 'requester.owner == "act-asker"', "approval": "2 of security"}
    try:
        assert (await admin.post(CHAINS, json=body)).status_code == 201
        assert (await executed(plane, people["reader"], id_))["state"] == "stale"
    finally:
        await admin.delete(f"{CHAINS}/act-later")
    assert (await plane.client(victim["key"]).get("/api/sandboxes")).status_code == 200


async def test_what_is_refused(admin: httpx.AsyncClient, people: dict[str, httpx.AsyncClient]) -> None:
    asker = people["asker"]
    refused(await ask(asker, "no.such", id="x"), 404, "unknown-admin-action")
    assert (await ask(asker, "key.revoke")).status_code == 422
    refused(await ask(asker, "flag.kill", key="x"), 403, "forbidden")
    refused(await ask(people["reader"], "key.revoke", id="x"), 403, "forbidden")
    refused(await people["reader"].get(f"{PATH}/nobody"), 404, "guard-hold-not-found")
    good = {"name": "act-bad", "when": "true", "approval": "1 of anyone"}
    for wrong in ({"when": "action."}, {"when": "request.path == ''"}, {"approval": "some people"}, {"expires_in": 1}):
        assert (await admin.post(CHAINS, json=good | wrong)).status_code == 422, wrong
    refused(await asker.post(CHAINS, json=good), 403, "forbidden")


async def test_comments_evidence_and_taking_back(people: dict[str, httpx.AsyncClient]) -> None:
    id_ = (await ask(people["asker"], "key.revoke", id="no-such-key")).json()["id"]
    url = f"{PATH}/{id_}"
    assert (await people["bob"].post(f"{url}/comments", json={"text": "<b>why?</b>"})).status_code == 201
    listed = (await people["reader"].get(f"{url}/comments")).json()
    assert [(one["by"], one["text"]) for one in listed["items"]] == [("act-bob", "<b>why?</b>")]

    content = b"<script>alert(1)</script>"
    file = {"name": "a b.html", "media_type": "text/html", "content": base64.b64encode(content).decode()}
    made = await people["asker"].post(f"{url}/evidence", json=file)
    assert made.status_code == 201, made.text
    got = await people["reader"].get(f"{url}/evidence/{made.json()['id']}")
    assert got.content == content
    assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20b.html"
    assert got.headers["x-content-type-options"] == "nosniff"
    for wrong in ({"content": "*"}, {"name": "../x"}, {"content": base64.b64encode(bytes(256 * 1024 + 1)).decode()}):
        assert (await people["asker"].post(f"{url}/evidence", json=file | wrong)).status_code == 422
    for _ in range(9):
        await people["asker"].post(f"{url}/evidence", json=file)
    refused(await people["asker"].post(f"{url}/evidence", json=file), 409, "too-many-notes")
    refused(await people["reader"].get(f"{url}/evidence/1"), 404, "evidence-not-found")

    assert (await people["asker"].post(f"{url}/cancel", json={"reason": "twice"})).json()["state"] == "cancelled"
    refused(await people["ann"].post(f"{url}/approve", json={}), 410, "guard-hold-gone")


async def test_nobody_answers(plane: Plane, admin: httpx.AsyncClient, people: dict[str, httpx.AsyncClient]) -> None:
    body = {"name": "act-slow", "when": 'requester.owner == "act-asker"', "approval": "3 of security"}
    assert (await admin.post(CHAINS, json=body | {"escalate_after": 60})).status_code == 201
    try:
        id_ = (await ask(people["asker"], "key.revoke", id="no-such-key-2")).json()["id"]
        service = plane.runtime.features.actions.service
        later = datetime.now(UTC) + timedelta(seconds=61)
        assert sum(await asyncio.gather(service.escalate(later), service.escalate(later))) >= 1
        assert await service.escalate(later) == 0
    finally:
        await admin.delete(f"{CHAINS}/act-slow")
    await people["asker"].post(f"{PATH}/{id_}/cancel", json={})
    told = (await admin.get("/system/audit", params={"subject": id_, "kind": "security_action"})).json()["items"]
    assert [one["action"] for one in told] == ["security_action.escalated"]


async def test_a_rotated_key_is_handed_to_who_asked_once(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, people: dict[str, httpx.AsyncClient]
) -> None:
    victim = await issue("act-rotated", "sandbox:read")
    order = {"arguments": {"id": victim["id"]}, "reason": "it leaked"}
    dry = (await people["asker"].post("/system/admin/actions/key.rotate?dry_run=true", json=order)).json()
    assert dry["result"] == {"id": victim["id"], "owner": "act-rotated", "old_until": None}
    assert (await plane.client(victim["key"]).get("/api/sandboxes")).status_code == 200

    asked = (await ask(people["asker"], "key.rotate", id=victim["id"])).json()
    assert (await people["ann"].post(f"{PATH}/{asked['id']}/approve", json={})).status_code == 200
    assert (await executed(plane, people["asker"], asked["id"]))["state"] == "succeeded"
    assert (await plane.client(victim["key"]).get("/api/sandboxes")).status_code == 401
    handouts = "/system/admin/handouts"
    (waiting,) = [
        one for one in (await people["asker"].get(handouts)).json()["items"] if one["subject"] == victim["id"]
    ]
    assert waiting["action"] == "key.rotate"
    # an admin is not who asked
    refused(await admin.post(f"{handouts}/{waiting['id']}"), 404, "handout-gone")
    both = await asyncio.gather(*(people["asker"].post(f"{handouts}/{waiting['id']}") for _ in range(2)))
    assert sorted(answer.status_code for answer in both) == [200, 404]
    (taken,) = [answer.json() for answer in both if answer.status_code == 200]
    assert (await plane.client(taken["secret"]).get("/api/sandboxes")).status_code == 200
    assert taken["subject"] == victim["id"]
    # neither what was stored of the action nor the ledger has it
    for path in (f"{PATH}/{asked['id']}", f"/system/holds/{asked['id']}", "/system/audit?limit=200"):
        answer = await admin.get(path)
        assert answer.status_code == 200, path
        assert taken["secret"] not in answer.text
    assert "admin.handed_out" in (await admin.get("/system/audit?limit=50")).text
