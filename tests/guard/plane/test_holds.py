"""Holds in the control plane: a program proposes, people decide over HTTP, a worker runs it, the ledger has it all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.conftest import Servers
from tests.server.plane import Plane, refused, running

from valhalla.guard import DoneFailed, Guard
from valhalla.guard.plane import carrier
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.kit.settings import Settings
from valhalla.sdk.holds import list_holds

HOLDS = "/system/holds"
RAN: list[str] = []


@pytest.fixture(scope="module")
async def plane(servers: Servers) -> AsyncIterator[Plane]:
    settings = Settings(data_dir=servers.data_dir, reap_interval=timedelta(days=1), access_log=False)
    async with running(settings, servers.cell, servers.endpoints) as plane:
        yield plane


@pytest.fixture(scope="module")
async def people(plane: Plane) -> dict[str, httpx.AsyncClient]:
    """Who may do what, by name."""
    admin = plane.client(await plane.admin_key())
    made = {"admin": admin}
    for name, *scopes in (
        ("ana", "holds:read", "holds:approve", "role:finance"),
        ("bo", "holds:read", "holds:approve", "role:finance"),
        ("ops", "holds:read", "holds:approve", "role:ops"),
        ("eve", "holds:read"),
    ):
        answer = await admin.post("/system/api-clients", json={"owner": name, "scopes": scopes})
        assert answer.status_code == 201, answer.text
        made[name] = plane.client(answer.json()["key"])
    return made


@pytest.fixture
def program(plane: Plane) -> Any:
    """A guard of another program on the control plane's database."""
    guard = Guard(PostgresStore(plane.runtime.db.dsn))
    yield guard
    guard.close()


async def refund(order: str, cents: int, token: str) -> int:
    RAN.append(order)
    return cents


async def _propose(guard: Guard, key: str, by: str = "shop") -> str:
    act = guard.action("refund", key="order", approval="2 of finance")(refund)
    with guard.acting(by, correlation="request-7"):
        held = await act.outcome(key, 500, "tok_4242424242424242")
    assert held.status == "held"
    return held.id


async def _audit(client: httpx.AsyncClient, id_: str) -> list[dict[str, Any]]:
    return (await client.get("/system/audit", params={"kind": "action", "subject": id_})).json()["items"]


async def test_two_people_decide_and_a_worker_runs_it_once(
    plane: Plane, people: dict[str, httpx.AsyncClient], program: Guard
) -> None:
    id_ = await _propose(program, "A-1")
    page = (await people["ana"].get(HOLDS, params={"action": "refund"})).json()
    (typed,) = list_holds().decode(page).items
    assert (typed.id, typed.missing) == (id_, "2 of finance")
    listed = page["items"]
    assert [(each["id"], each["missing"], each["requested_by"]) for each in listed] == [(id_, "2 of finance", "shop")]
    assert "4242424242424242" not in str(listed)
    first = await people["ana"].post(f"{HOLDS}/{id_}/approve", json={"reason": "seen the order"})
    assert (first.json()["state"], first.json()["missing"]) == ("held", "1 of finance")
    assert refused(await people["ana"].post(f"{HOLDS}/{id_}/approve", json={}), 403, "guard-not-an-approver")
    assert refused(await people["ops"].post(f"{HOLDS}/{id_}/approve", json={}), 403, "guard-not-an-approver")
    assert await program.adispatch() == []
    done = (await people["bo"].post(f"{HOLDS}/{id_}/approve", json={"fingerprint": listed[0]["fingerprint"]})).json()
    assert (done["state"], [one["decision"] for one in done["approvals"]]) == ("approved", ["approve"] * 2)
    assert [outcome.value for outcome in await program.adispatch()] == [500]
    assert RAN == ["A-1"]
    assert (await people["eve"].get(f"{HOLDS}/{id_}")).json()["state"] == "succeeded"

    deadline = time.monotonic() + 30
    # a line waits for every transaction that is older, whoever's it is
    while len(audit := await _audit(people["admin"], id_)) < 5 and time.monotonic() < deadline:
        await plane.runtime.guard.carrier.once()
    told = [(entry["action"], entry["details"]["state"]) for entry in reversed(audit)]
    assert told == [
        ("action.held", "held"),
        ("action.approval", "held"),
        ("action.approved", "approved"),
        ("action.dispatch", "executing"),
        ("action.finish", "succeeded"),
    ]
    assert {entry["correlation_id"] for entry in audit} == {"request-7"}
    assert {entry["details"]["action"] for entry in audit} == {"refund"}


async def test_who_approves_sees_the_tree_and_what_differs_from_the_last_time(
    people: dict[str, httpx.AsyncClient], program: Guard
) -> None:
    act = program.action("ship", effect="irreversible")(lambda order, token: None)
    outer = program.action("order", effect="none")(lambda order: act(order, token="secret"))

    def all_of(*orders: str) -> None:
        for order in orders:
            # the rehearsal of each ends at what it does not do
            with contextlib.suppress(Exception):
                outer(order)

    ids: list[str] = []
    for orders in (("A", "B"), ("A", "C", "D")):
        plan = program.plan(all_of, *orders, approval="1 of finance")
        with program.acting("shop"):
            ids.append(str((await program.aapply(plan, outcome=True)).id))
    held = (await people["ana"].get(f"{HOLDS}/{ids[1]}")).json()
    assert [(step["depth"], step["action"]) for step in held["plan"]] == [(0, "order"), (1, "ship")] * 3
    assert held["plan"][3]["arguments"] == {"order": "C", "token": "***"}
    review = (await people["ana"].get(f"{HOLDS}/{ids[1]}/review")).json()
    assert (review["previous"]["id"], review["previous"]["state"]) == (ids[0], "held")
    changed = review["differences"]
    assert changed["plan.2.arguments.order"] == {"from": "B", "to": "C"}
    assert changed["plan.4"]["from"] is None
    assert (await people["ana"].get(f"{HOLDS}/{ids[0]}/review")).json()["differences"] == {}
    assert refused(await people["ana"].get(f"{HOLDS}/none/review"), 404, "guard-hold-not-found")
    for id_ in ids:
        await people["ana"].post(f"{HOLDS}/{id_}/deny", json={})


async def test_a_second_key_makes_nobody_a_second_person(
    plane: Plane, people: dict[str, httpx.AsyncClient], program: Guard
) -> None:
    scopes = ["holds:read", "holds:approve", "role:finance"]
    made = (await people["admin"].post("/system/api-clients", json={"owner": "ana", "scopes": scopes})).json()
    again = plane.client(made["key"])
    asked = await _propose(program, "A-twice")
    assert (await people["ana"].post(f"{HOLDS}/{asked}/approve", json={})).json()["missing"] == "1 of finance"
    assert refused(await again.post(f"{HOLDS}/{asked}/approve", json={}), 403, "guard-not-an-approver")
    own = await _propose(program, "A-own", by=made["id"])
    for client in (again, people["ana"]):
        assert refused(await client.post(f"{HOLDS}/{own}/approve", json={}), 403, "guard-not-an-approver")


async def test_what_is_refused_and_why(people: dict[str, httpx.AsyncClient], program: Guard) -> None:
    ana, eve = people["ana"], people["eve"]
    id_ = await _propose(program, "A-2", by="ana")
    assert refused(await eve.post(f"{HOLDS}/{id_}/approve", json={}), 403, "forbidden")["scope"] == "holds:approve"
    assert refused(await ana.post(f"{HOLDS}/{id_}/approve", json={}), 403, "guard-not-an-approver")
    assert refused(
        await people["bo"].post(f"{HOLDS}/{id_}/approve", json={"fingerprint": "00"}), 422, "invalid-request"
    )
    assert refused(await ana.get(f"{HOLDS}/nobody"), 404, "guard-hold-not-found")
    assert refused(await ana.get(HOLDS, params={"cursor": "x"}), 422, "invalid-request")
    denied = await people["bo"].post(f"{HOLDS}/{id_}/deny", json={"reason": "no"})
    assert (denied.json()["state"], denied.json()["reason"]) == ("denied", "no")
    assert refused(await people["bo"].post(f"{HOLDS}/{id_}/cancel", json={}), 409, "illegal-transition")
    other = await _propose(program, "A-3")
    assert (await ana.post(f"{HOLDS}/{other}/cancel", json={})).json()["state"] == "cancelled"
    assert refused(await ana.post(f"{HOLDS}/{other}/approve", json={}), 410, "guard-hold-gone")
    assert set(RAN) <= {"A-1"}


async def test_a_person_settles_what_nobody_knows(people: dict[str, httpx.AsyncClient], program: Guard) -> None:
    @program.action("charge", key="order")
    async def charge(order: str) -> None:
        raise OSError

    id_ = (await charge.outcome("B-1")).id
    waiting = (await people["ana"].get(HOLDS, params={"kind": "indeterminate", "action": "charge"})).json()["items"]
    assert [each["id"] for each in waiting] == [id_]
    body = {"outcome": "not_done", "evidence": "not on the statement"}
    settled = (await people["ana"].post(f"{HOLDS}/{id_}/settle", json=body)).json()
    assert (settled["state"], settled["evidence"]) == ("not_done", "not on the statement")


async def test_an_admin_action_that_broke_off_is_listed_without_arguments(
    people: dict[str, httpx.AsyncClient], program: Guard
) -> None:
    @program.action("admin.key.revoke", key="order")
    async def revoke(order: str) -> None:
        raise OSError

    id_ = (await revoke.outcome("B-2")).id
    asked = {"kind": "indeterminate", "type": "key.revoke"}
    answer = await people["admin"].get("/system/security/actions", params=asked)
    assert answer.status_code == 200, answer.text
    (found,) = [one for one in answer.json()["items"] if one["id"] == id_]
    assert (found["type"], found["state"], found["payload"]) == ("key.revoke", "indeterminate", None)


async def test_what_is_held_denied_failed_or_unknown_is_an_alert(
    plane: Plane, people: dict[str, httpx.AsyncClient], program: Guard
) -> None:
    @program.action("alerting-unknown", key="order")
    async def unknown(order: str) -> None:
        raise OSError

    @program.action("alerting-failed", key="order")
    async def failed(order: str) -> None:
        raise DoneFailed("card declined")

    @program.action("alerting-held", key="order", approval="1 of finance")
    async def held(order: str) -> None: ...

    for action in (unknown, failed, held):
        for order in ("C-1", "C-2"):
            await action.outcome(order)
    (first, *_) = (await people["ana"].get(HOLDS, params={"action": "alerting-held"})).json()["items"]
    assert (await people["bo"].post(f"{HOLDS}/{first['id']}/deny", json={"reason": "no"})).status_code == 200

    async def alerts() -> set[tuple[str, str, str, int]]:
        items = (await people["admin"].get("/system/alerts", params={"text": "alerting"})).json()["items"]
        return {(one["name"], one["severity"], one["labels"]["name"], one["count"]) for one in items}

    wanted = {
        ("action.indeterminate", "critical", "alerting-unknown", 2),
        ("action.failed", "error", "alerting-failed", 2),
        ("action.held", "warning", "alerting-held", 2),
        ("action.denied", "warning", "alerting-held", 1),
    }
    deadline = time.monotonic() + 30
    while (found := await alerts()) != wanted and time.monotonic() < deadline:
        await plane.runtime.guard.carrier.once()
    assert found == wanted


async def test_pages_of_holds(people: dict[str, httpx.AsyncClient], program: Guard) -> None:
    ids = [await _propose(program, f"P-{n}", by="pager") for n in range(3)]
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = {"requester": "pager", "limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await people["eve"].get(HOLDS, params=query)).json()
        found += [each["id"] for each in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert found == ids


async def test_each_line_is_carried_once_by_however_many(
    plane: Plane, program: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "BATCH", 7)
    db, ledger = plane.runtime.db, plane.runtime.ledger
    carriers = [carrier.Carrier(db, ledger) for _ in range(4)]

    async def act(n: int) -> None:
        await program.arun("note", _nothing, n, key=f"n{n}")

    async with asyncio.TaskGroup() as group:
        for n in range(25):
            group.create_task(act(n))
        for each in carriers:
            group.create_task(each.once())
    counted = sa.text(
        "SELECT count(*), count(DISTINCT details->>'line') FROM valhalla.ledger_entries"
        " WHERE kind = 'action' AND details->>'action' = 'note'"
    )
    deadline = time.monotonic() + 30
    # a line waits for every transaction that is older, whoever's it is
    while (found := tuple(await db.read(lambda conn: conn.execute(counted).one()))) != (50, 50):
        assert time.monotonic() < deadline, found
        await carriers[0].once()
    order = sa.text("SELECT (details->>'line')::bigint FROM valhalla.ledger_entries WHERE kind = 'action' ORDER BY id")
    lines = await db.read(lambda conn: list(conn.scalars(order)))
    assert lines == sorted(lines)


async def _nothing(n: int) -> int:
    return n
