"""Exports and retention over HTTP, with the jobs run by the plane's own worker."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

from valhalla.features.data.retention import rules
from valhalla.kit.outbox.tables import events

EXPORTS = "/system/exports"
RETENTION = "/system/retention"


async def finished(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (found := (await client.get(path)).json())["finished_at"] is None:
            await asyncio.sleep(0.05)
    return found


async def test_an_export_from_request_to_download(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    viewer = plane.client((await issue("exporting", role="viewer"))["key"])
    limit = await admin.put("/system/rate-limits/export-me", json={"rate": "100/minute", "enabled": False})
    assert limit.status_code == 201
    body = {
        "source": "history:rate_limits",
        "columns": ["op", "key"],
        "where": [{"column": "key", "value": "export-me"}],
    }
    refused(await viewer.post(EXPORTS, json=body), 403, "forbidden")
    assert "view:reporting.daily" not in {
        one["name"] for one in (await viewer.get(f"{EXPORTS}/sources")).json()["items"]
    }

    asked = await admin.post(EXPORTS, json=body)
    assert (asked.status_code, asked.json()["status"]) == (202, "pending")
    here = asked.headers["location"]
    made = await finished(viewer, here)

    assert (made["status"], made["rows"], made["manifest"]["rows"]) == ("completed", 1, 1)
    name = made["files"][0]["name"]
    file = await viewer.get(f"{here}/files/{name}")
    assert list(csv.reader(io.StringIO(file.text))) == [["op", "key"], ["put", "export-me"]]
    assert file.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert hashlib.sha256(file.content).hexdigest() == made["manifest"]["files"][0]["sha256"]
    links = (await viewer.post(f"{here}/links", json={"seconds": 60})).json()["items"]
    url = next(one["url"] for one in links if one["name"] == name)
    nobody = plane.client()
    assert (await nobody.get(url)).content == file.content
    part = await nobody.get(url, headers={"Range": "bytes=3-"})
    assert (part.status_code, part.content) == (206, file.content[3:])
    refused(await nobody.get(url.replace("expires=", "expires=9")), 403, "export-link-invalid")
    refused(await nobody.get(f"{here}/files/{name}"), 401, "unauthenticated")
    refused(await admin.post(f"{here}/cancel"), 409, "illegal-transition")
    refused(await admin.post(EXPORTS, json={"source": "view:pg_catalog.pg_authid"}), 404, "export-unknown-source")
    assert (await admin.delete("/system/rate-limits/export-me")).status_code == 204


@pytest.mark.slow
async def test_whatever_is_listed_can_be_exported_in_every_form(plane: Plane, admin: httpx.AsyncClient) -> None:
    listed = [one["name"] for one in (await admin.get(f"{EXPORTS}/sources")).json()["items"]]
    names = [name for name in listed if ":" not in name]
    assert {"logs", "audit", "spans", "honeypots", "jobs", "notifications"} <= set(names)
    assert "sandbox:<id or name>" in listed
    asked: dict[str, str] = {}
    for n, name in enumerate([*names, "traces"]):
        body = {"source": name, "format": ("csv", "jsonl", "parquet")[n % 3]}
        answer = await admin.post(EXPORTS, json=body)
        assert answer.status_code == 202, (name, answer.text)
        asked[name] = answer.headers["location"]

    for name, where in asked.items():
        made = await finished(admin, where)
        assert (made["status"], made["error"]) == ("completed", None), name
        assert made["source"] == {"traces": "spans"}.get(name, name)


async def test_a_dump_is_what_a_sandbox_holds_and_its_owners_alone(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue
) -> None:
    owner = plane.client((await issue("dumping", "exports:write", "sandbox:write"))["key"])
    other = plane.client((await issue("not-dumping", "exports:write", "sandbox:write"))["key"])
    box = (await owner.post("/api/sandboxes", json={"template": "empty"})).json()
    import asyncpg

    connection = await asyncpg.connect(box["connection"]["postgres"]["url"])
    await connection.execute("CREATE TABLE orders (id int, note text); INSERT INTO orders VALUES (1, E'a\\tb')")
    await connection.close()
    body = {"source": f"sandbox:{box['id']}"}

    made = await finished(owner, (await owner.post(EXPORTS, json=body)).headers["location"])
    stolen = await finished(other, (await other.post(EXPORTS, json=body)).headers["location"])

    assert (made["status"], made["format"], made["rows"]) == ("completed", "sql", 1), made
    text = (await owner.get(f"{EXPORTS}/{made['id']}/files/{made['files'][0]['name']}")).text
    assert '"orders"' in text
    assert "1\ta\\tb\n\\.\n" in text
    assert (stolen["status"], stolen["error"]["code"]) == ("failed", "sandbox-not-found")
    refused(await other.get(f"{EXPORTS}/{made['id']}"), 404, "export-not-found")
    await owner.delete(f"/api/sandboxes/{box['id']}")


@pytest.fixture
async def old_events(plane: Plane, admin: httpx.AsyncClient) -> AsyncIterator[None]:
    """Three events that were sent long ago, and a policy for them that is gone afterwards."""
    at = plane.runtime.clock.now() - timedelta(days=30)
    row = {"subject": "old.1", "type": "old", "data": {}, "at": at, "sent_at": at}
    rows = [{"uid": f"old-{number}", **row} for number in range(3)]
    await plane.runtime.db.run(lambda conn: conn.execute(sa.insert(events).inline(), rows))
    assert (await admin.put(f"{RETENTION}/policies/events", json={"days": 7, "max_share": 1e-9})).status_code == 201
    yield
    await admin.delete(f"{RETENTION}/policies/events")


async def test_a_large_purge_is_held_until_somebody_else_approves(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, old_events: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "SMALL", 0)
    second = plane.client((await issue("approving", role="operator"))["key"])
    look = await admin.get(f"{RETENTION}/categories/events/preview")
    assert look.status_code == 200, look.text
    assert look.json()["rows"] >= 3
    purge = f"{RETENTION}/categories/events/purge"
    refused(await admin.post(purge, json={"reason": "tidy"}), 409, "retention-needs-confirmation")

    asked = (await admin.post(purge, json={"reason": "tidy", "confirm": True})).json()
    assert asked["purge"] is None
    refused(await admin.post(f"/system/holds/{asked['hold']}/approve", json={}), 403, "guard-not-an-approver")
    assert (await second.post(f"/system/holds/{asked['hold']}/approve", json={})).status_code == 200

    async with asyncio.timeout(60):
        while not (found := (await admin.get(f"{RETENTION}/purges", params={"category": "events"})).json()["items"]):
            await asyncio.sleep(0.1)
    done = await finished(admin, f"{RETENTION}/purges/{found[0]['id']}")
    assert (done["status"], done["rows"] >= 3, len(done["digest"])) == ("succeeded", True, 64)
    audit = (await admin.get("/system/audit", params={"kind": "retention", "subject": done["id"]})).json()["items"]
    assert "purged" in {entry["action"] for entry in audit}


async def test_nonsense_about_retention_is_refused(admin: httpx.AsyncClient) -> None:
    refused(await admin.put(f"{RETENTION}/policies/logs", json={"days": -5}), 422, "invalid-request")
    refused(await admin.put(f"{RETENTION}/policies/logs", json={}), 422, "retention-bad-policy")
    refused(await admin.put(f"{RETENTION}/policies/nothing", json={"days": 5}), 422, "retention-unknown-category")
    refused(await admin.put(f"{RETENTION}/policies/audit", json={"days": 5}), 409, "retention-not-purged")
    hold = {"category": "logs", "reason": "case 1", "conditions": [{"column": "nothing", "value": 1}]}
    refused(await admin.put(f"{RETENTION}/holds/case-1", json=hold), 422, "invalid-request")
    hold["conditions"] = [{"column": "context.customer", "value": "c-1"}]
    assert (await admin.put(f"{RETENTION}/holds/case-1", json=hold)).status_code == 201
    assert (await admin.get(f"{RETENTION}/holds/case-1")).json()["conditions"][0]["op"] == "eq"
    assert (await admin.delete(f"{RETENTION}/holds/case-1")).status_code == 204
    found = {one["category"]: one for one in (await admin.get(f"{RETENTION}/categories")).json()["items"]}
    assert (found["logs"]["table"], found["logs"]["clock"]) == ("valhalla.system_logs", "at")
    assert (found["logs"]["default_days"], found["audit"]["purged"]) == (14, False)
