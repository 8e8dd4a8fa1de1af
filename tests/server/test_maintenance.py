"""Closed writes through the whole control plane: who is refused, who passes, and what the database says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.server.conftest import Issue
from tests.server.plane import Plane

from valhalla.features.operations.maintenance import ReadOnly
from valhalla.features.operations.maintenance.following import ModeWatch, told_mode
from valhalla.features.operations.maintenance.telling import tell
from valhalla.kernel.principal import SYSTEM
from valhalla.kit.changes import Snapshot
from valhalla.kit.http import while_closed_in
from valhalla.kit.writing import admit, upkeep
from valhalla.sandbox.contracts import Spec

STATE = "/system/maintenance/state"


@pytest.fixture
async def chief(plane: Plane) -> AsyncIterator[httpx.AsyncClient]:
    """The admin, who opens writes again whatever a test did."""
    client = plane.client(await plane.admin_key())
    yield client
    for window in (await client.get("/system/maintenance/windows")).json()["items"]:
        await client.delete(f"/system/maintenance/windows/{window['name']}")
    (await client.post(STATE, json={"mode": "normal", "reason": "the test is over"})).raise_for_status()
    admit(writing=False)


async def close(chief: httpx.AsyncClient, mode: str = "read_only", **more: Any) -> dict[str, Any]:
    answer = await chief.post(STATE, json={"mode": mode, "reason": "moving", **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def write(conn: sa.Connection) -> None:
    conn.execute(sa.text("CREATE TABLE valhalla.slipped (id int)"))


async def test_users_stop_writing_and_operators_get_out(plane: Plane, chief: httpx.AsyncClient, issue: Issue) -> None:
    user = plane.client((await issue("closed", "sandbox:write", "keys:read"))["key"])
    victim = await issue("victim", "sandbox:read")
    until = datetime.now(UTC) + timedelta(hours=1)
    state = await close(chief, until=until.isoformat())
    assert (state["mode"], state["source"], state["set_mode"]) == ("read_only", "state", "read_only")

    for refused in (
        await user.post("/api/sandboxes", json={}),
        await user.delete("/api/sandboxes/abc"),
        await chief.post("/api/sandboxes", json={}),
        await chief.put("/system/rate-limits/x", json={"rate": "1/s"}),
    ):
        problem = refused.json()
        assert (refused.status_code, problem["code"], problem["mode"]) == (503, "read-only", "read_only")
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        assert problem["reason"] == "moving"
        assert refused.headers["x-correlation-id"] == problem["correlation_id"]
    told = refused.headers["valhalla-maintenance"]
    assert told.endswith(f"/{until:%Y-%m-%dT%H:%M:%SZ}; mode=read_only")

    for path in ("/api/sandboxes", "/system/rate-limits", "/system/jobs", "/system/alerts", "/system/audit", "/live"):
        assert (await chief.get(path)).status_code == 200, path
    assert (await plane.client().get("/ready")).json()["mode"] == "read_only"
    planned = await chief.put("/system/rate-limits/x?dry_run=true", json={"rate": "1/s"})
    assert (planned.status_code, planned.json()["dry_run"]) == (200, True)
    assert (await chief.post("/system/rate-limits/test", json={"path": "/"})).status_code == 200

    assert (await chief.delete(f"/system/api-clients/{victim['id']}")).status_code == 204
    open_again = await chief.post(STATE, json={"mode": "normal", "reason": "done"})
    assert open_again.json()["mode"] == "normal"
    assert (await user.delete("/api/sandboxes/abc")).status_code == 404


def test_what_passes_is_what_its_routes_declare(plane: Plane) -> None:
    app: Any = plane.app
    routes = app.hooks.routes._routes
    passing: dict[str, list[str]] = {"read": [], "write": []}
    for route in routes:
        for method in sorted(getattr(route, "methods", None) or ()):
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            found = while_closed_in(app.hooks.routes.find(path).routes, method, path)
            if method not in ("GET", "HEAD") and found is not None:
                passing[found].append(f"{method} {route.path}")
    expected = {
        "POST /system/maintenance/state", "POST /system/maintenance/windows", "PUT /system/maintenance/windows/{key}",
        "DELETE /system/maintenance/windows/{key}", "DELETE /system/api-clients/{client_id}",
        "POST /system/api-clients/{client_id}/deactivate", "POST /system/logs", "POST /v1/traces",
        "POST /system/holds/{hold_id}/approve", "POST /system/alerts/{reference}/acknowledge",
    }  # fmt: skip
    assert expected <= set(passing["write"])
    assert {"POST /system/logs/query", "POST /system/rate-limits/test", "POST /ofrep/v1/evaluate/flags"} <= set(
        passing["read"]
    )
    # whoever declares that a route passes has thought of one of these
    prefixes = ("/system/maintenance", "/system/api-clients/", "/system/logs", "/v1/traces", "/system/holds/",
                "/system/alerts/", "/system/security/", "/console", "/v1/", "/system/admin/handouts/",
                "/system/snapshot/applications")  # fmt: skip
    assert [each for each in passing["write"] if not each.split(" ")[1].startswith(prefixes)] == []
    find = app.hooks.shield.declared
    assert find("POST", "/system/admin/actions/maintenance.set-mode") == "write"
    assert find("POST", "/system/admin/actions/key.revoke-owner") is None
    assert find("POST", "/system/admin/actions/none") is None
    assert find("POST", "/api/sandboxes") is None
    assert find("PURGE", "/system/maintenance/state") is None


async def test_the_database_refuses_what_slips_past_the_gate(plane: Plane, chief: httpx.AsyncClient) -> None:
    db = plane.runtime.db
    await close(chief)
    admit(writing=False)
    for run in (db.run, db.read):
        with pytest.raises(ReadOnly) as refused:
            await run(write)
        assert refused.value.retry_after == 60
    with pytest.raises(ReadOnly):
        await asyncio.to_thread(db.run_blocking, write)
    assert await db.run(lambda conn: conn.execute(sa.text("SELECT 1")).scalar_one()) == 1
    with pytest.raises(ReadOnly):
        # the pool is claimed past the unit of work
        await plane.runtime.sandboxes.create(SYSTEM, Spec("a", "community", timedelta(minutes=5)))
    # the mode of a connection goes back into the pool with it: others write on
    with upkeep():
        for _ in range(20):
            await db.run(lambda conn: conn.execute(sa.text("CREATE TEMPORARY TABLE t (id int) ON COMMIT DROP")))
            assert await db.run(lambda conn: conn.execute(sa.text("SHOW transaction_read_only")).scalar_one()) == "off"


async def test_workers_hear_which_mode_was_told(plane: Plane, chief: httpx.AsyncClient) -> None:
    watch, stop = ModeWatch(plane.runtime.db), asyncio.Event()
    task = asyncio.create_task(watch.run(stop))
    try:
        await close(chief)
        assert await plane.runtime.db.read(told_mode) == "read_only"
        async with asyncio.timeout(10):
            while not watch.is_closed:
                await asyncio.sleep(0.01)
    finally:
        stop.set()
        await task
    await chief.post(STATE, json={"mode": "normal", "reason": "done"})
    assert await plane.runtime.db.read(told_mode) == "normal"


async def test_who_holds_the_bypass_writes_on(plane: Plane, chief: httpx.AsyncClient, issue: Issue) -> None:
    helper = plane.client((await issue("bypass", "limits:write", "maintenance:bypass"))["key"])
    await close(chief, "maintenance")
    made = await helper.put("/system/rate-limits/by-bypass", json={"rate": "1000/s"})
    assert made.status_code == 201, made.text
    assert (await helper.delete("/system/rate-limits/by-bypass")).status_code == 204


async def test_what_nobody_knows_closes_writes(plane: Plane, chief: httpx.AsyncClient) -> None:
    keeper, feed = plane.runtime.features.maintenance.keeper, plane.runtime.feed
    snapshot = feed.snapshot("maintenance_state")
    try:
        feed._snapshots["maintenance_state"] = keeper._unread["maintenance_state"]
        feed._snapshots["maintenance_state"] = keeper._unread["maintenance_state"] = Snapshot("maintenance_state")
        keeper._kept = None
        refused = await chief.post("/api/sandboxes", json={})
        assert (refused.status_code, refused.json()["reason"]) == (
            503,
            "the state of maintenance has not been read yet",
        )
        assert (await chief.get("/system/maintenance")).json()["source"] == "unknown"
    finally:
        feed._snapshots["maintenance_state"] = snapshot
        keeper._kept = None


async def test_a_window_acts_by_the_clock_alone_and_an_operator_ends_it(plane: Plane, chief: httpx.AsyncClient) -> None:
    now = datetime.now(UTC)
    window = {
        "name": "now",
        "start": (now - timedelta(minutes=1)).isoformat(),
        "end": (now + timedelta(hours=2)).isoformat(),
        "zone": "America/Toronto",
        "mode": "maintenance",
        "reason": "upgrade; all, of it",
        "rrule": "FREQ=DAILY",
    }
    made = await chief.post("/system/maintenance/windows", json=window)
    assert made.status_code == 201, made.text
    document = (await chief.get("/system/maintenance")).json()
    assert (document["mode"], document["source"], document["window"]) == ("maintenance", "window", "now")
    assert len(document["upcoming"]) == 10
    refused = await chief.post("/api/sandboxes", json={})
    assert (refused.status_code, refused.json()["mode"]) == (503, "maintenance")

    # one that is planned does not act, and is named in time
    assert (await chief.post(STATE, json={"mode": "normal", "reason": "not today"})).json()["mode"] == "normal"
    assert (await chief.post("/api/sandboxes", json={"ttl": -1})).status_code == 422
    feed = await chief.get("/system/maintenance/calendar.ics")
    assert feed.headers["content-type"].startswith("text/calendar")
    assert "upgrade\\; all\\, of it" in feed.text
    preview = {name: value for name, value in window.items() if name != "name"}
    seen = (await chief.post("/system/maintenance/windows/preview", json=preview)).json()["items"]
    assert len(seen) == 10
    history = (await chief.get(f"{STATE}/history")).json()["items"]
    assert (history[0]["mode"], history[0]["reason"]) == ("normal", "not today")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"mode": "odd", "reason": "x"}, "invalid-request"),
        ({"mode": "read_only"}, "invalid-request"),
        ({"mode": "read_only", "reason": "a\r\nb"}, "invalid-request"),
        ({"mode": "read_only", "reason": "x", "until": "2026-11-30T18:00:00"}, "bad-maintenance-state"),
        ({"mode": "read_only", "reason": "x", "until": "2001-11-30T18:00:00Z"}, "bad-maintenance-state"),
        ({"mode": "read_only", "reason": "x", "until": "9999-12-31T23:59:59-23:00"}, "bad-maintenance-state"),
    ],
    ids=["mode", "reason", "lines", "naive", "past", "far"],
)
async def test_a_state_that_nobody_means_is_refused(chief: httpx.AsyncClient, body: dict[str, Any], code: str) -> None:
    answer = await chief.post(STATE, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_two_operators_do_not_undo_each_other_unawares(chief: httpx.AsyncClient) -> None:
    await close(chief)
    read = await chief.get(STATE)
    assert read.json()["version"] == int(read.headers["etag"].strip('"'))
    await close(chief, "maintenance")
    late = {"mode": "normal", "reason": "as it was"}
    answer = await chief.post(STATE, json=late, headers={"If-Match": read.headers["etag"]})
    assert (answer.status_code, answer.json()["code"]) == (412, "precondition-failed")


async def test_changes_are_events_and_in_the_ledger(plane: Plane, chief: httpx.AsyncClient) -> None:
    await close(chief)
    query = sa.text("SELECT type, data FROM valhalla.events WHERE subject = 'maintenance' ORDER BY id DESC LIMIT 1")
    kind, data = await plane.runtime.db.read(lambda conn: tuple(conn.execute(query).one()))
    assert (kind, data["mode"], data["previous"], data["reason"]) == (
        "maintenance.changed",
        "read_only",
        "normal",
        "moving",
    )
    found = (await chief.get("/system/audit", params={"kind": "maintenance"})).json()["items"]
    assert found[0]["action"] == "maintenance.changed"


async def test_processes_that_see_a_window_begin_tell_it_once(plane: Plane, chief: httpx.AsyncClient) -> None:
    now = datetime.now(UTC)
    window = {
        "name": f"once-{now:%H%M%S%f}",
        "start": (now - timedelta(minutes=1)).isoformat(),
        "end": (now + timedelta(hours=1)).isoformat(),
        "mode": "read_only",
    }
    assert (await chief.post("/system/maintenance/windows", json=window)).status_code == 201
    runtime = plane.runtime
    records = runtime.features.maintenance.service.records
    with upkeep():
        await asyncio.gather(
            *(runtime.db.run(tell, records, runtime.ledger, datetime.now(UTC), "system") for _ in range(6)),
            runtime.features.maintenance.watch.once(),
        )
    query = sa.text("SELECT type FROM valhalla.events WHERE data ->> 'window' = :window ORDER BY id")
    found = await runtime.db.read(lambda conn: conn.execute(query, {"window": window["name"]}).scalars().all())
    assert found == ["maintenance.changed"]


async def test_everything_that_reads_still_answers(plane: Plane, chief: httpx.AsyncClient) -> None:
    description = (await chief.get("/openapi.json")).json()
    paths = [path for path, item in description["paths"].items() if "get" in item and "{" not in path]
    made = (await chief.post("/api/sandboxes", json={"ttl": "5m"})).json()
    one = f"/api/sandboxes/{made['id']}"
    await close(chief, "maintenance")
    # the live stream has no end, and the ledger's proof is not about this
    skipped = {"/system/audit/verify", *(path for path in paths if "stream" in path or path.endswith("/events"))}
    for path in [*(set(paths) - skipped), one, f"{one}/connection", f"{one}/status", f"{one}/audit"]:
        answer = await chief.get(path)
        assert answer.status_code in {200, 422}, (path, answer.text)
    assert (await chief.delete(one)).status_code == 503
    # what ends by itself is upkeep
    await chief.post(STATE, json={"mode": "normal", "reason": "done"})
    assert (await chief.delete(one)).status_code in {200, 202}
