"""Unexpected errors: from the request that failed to ``/system/errors``."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

from valhalla.kernel.problems import Unavailable
from valhalla.kit.outbox.tables import events


class OopsError(Exception):
    """What the test breaks with: its own type keeps these rows apart from others'."""


def fails() -> None:
    raise OopsError("secret vh_local_" + "b" * 40)


@pytest.fixture
async def reader(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    return plane.client((await issue("http-errors", "errors:read"))["key"])


@pytest.fixture
async def writer(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    return plane.client((await issue("http-errors", "errors:write"))["key"])


async def happen(plane: Plane, where: str, times: int = 1) -> None:
    recorder = plane.runtime.features.failures.recorder
    for number in range(times):
        try:
            fails()
        except OopsError as error:
            recorder.note(error, where=where, correlation=f"c-{number}", principal="p")
    await recorder.flush()


async def told(plane: Plane, error_id: str) -> list[str]:
    query = sa.select(events.c.type).where(events.c.subject == f"error.{error_id}").order_by(events.c.id)
    return [row.type for row in await plane.runtime.db.read(lambda conn: conn.execute(query).all())]


async def one(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    found = (await client.get("/system/errors", params=query)).json()["items"]
    assert len(found) == 1, found
    return found[0]


async def test_a_request_that_fails_is_found_by_its_correlation_id(
    plane: Plane, reader: httpx.AsyncClient, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts() -> None:
        raise OopsError("broken")

    monkeypatch.setattr(plane.runtime.sandboxes, "counts", counts)
    answers = [await admin.get("/system/info") for _ in range(3)]
    for answer in answers:
        refused(answer, 500, "internal")
        assert "OopsError" not in answer.text
    await plane.runtime.features.failures.recorder.flush()

    found = await one(reader, route="GET /system/info", text="broken")

    assert found["kind"].endswith("OopsError")
    assert found["count"] == 3
    assert found["status"] == "open"
    assert found["last_correlation"] == answers[-1].headers["x-correlation-id"]
    assert found["place"].endswith("counts")
    whole = (await reader.get(f"/system/errors/{found['id']}")).json()
    assert "Traceback" in whole["sample"]
    assert "raise OopsError" in whole["sample"]
    assert await told(plane, found["id"]) == ["error.new"]


async def test_its_life(plane: Plane, reader: httpx.AsyncClient, writer: httpx.AsyncClient) -> None:
    await happen(plane, "life", 5)
    await happen(plane, "life")
    found = await one(reader, route="life")
    assert (found["count"], found["status"]) == (6, "open")
    assert "b" * 40 not in found["message"]
    path = f"/system/errors/{found['id']}"

    refused(await reader.post(f"{path}/resolve"), 403, "forbidden")
    settled = (await writer.post(f"{path}/resolve", json={"note": "mended"})).json()
    assert (settled["status"], settled["note"]) == ("resolved", "mended")
    refused(await writer.post(f"{path}/mute"), 409, "illegal-transition")

    await happen(plane, "life")
    assert (await one(reader, route="life"))["status"] == "open"
    assert (await writer.post(f"{path}/mute")).json()["status"] == "muted"
    await happen(plane, "life")
    assert (await one(reader, route="life"))["status"] == "muted"
    assert (await writer.post(f"{path}/reopen")).json()["settled_by"] is None
    assert await told(plane, found["id"]) == ["error.new", "error.resolved", "error.regressed", "error.muted"]


async def test_lists(plane: Plane, reader: httpx.AsyncClient) -> None:
    for number in range(5):
        await happen(plane, f"list {number}")
    first = (await reader.get("/system/errors", params={"limit": 2, "text": "secret"})).json()
    routes = [item["route"] for item in first["items"]]
    cursor = first["next"]
    while cursor is not None:
        page = (await reader.get("/system/errors", params={"limit": 2, "text": "secret", "cursor": cursor})).json()
        routes += [item["route"] for item in page["items"]]
        cursor = page["next"]
    assert [route for route in routes if route.startswith("list")] == [f"list {n}" for n in reversed(range(5))]
    assert (await reader.get("/system/errors", params={"since": "2100-01-01T00:00:00Z"})).json()["items"] == []
    for query in (
        {"cursor": "x"},
        {"status": "banana"},
        {"since": "2026-01-01T00:00:00"},
        {"limit": 0},
        {"unknown": 1},
    ):
        refused(await reader.get("/system/errors", params=query), 422, "invalid-request")
    refused(await reader.get("/system/errors/nothing"), 404, "error-not-found")
    refused(await plane.client().get("/system/errors"), 401, "unauthenticated")


async def test_what_cannot_be_written_waits_and_is_bounded(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = plane.runtime.features.failures.recorder
    await recorder.flush()
    real = plane.runtime.db.run

    async def away(*_args: Any, **_more: Any) -> None:
        raise Unavailable("postgres")

    with monkeypatch.context() as broken:
        broken.setattr(plane.runtime.db, "run", away)
        for number in range(recorder._most + 50):
            try:
                fails()
            except OopsError as error:
                recorder.note(error, where=f"away {number}", correlation="c")
        with pytest.raises(Unavailable):
            await recorder.flush()
        assert len(recorder._waiting) <= recorder._most
        assert recorder.dropped >= 50
    assert plane.runtime.db.run == real
    await recorder.flush()
    assert recorder._waiting == {}
