"""``/system/logs`` over HTTP: what happens in a request is found by its correlation id."""

from __future__ import annotations

import httpx
from tests.server.conftest import Issue
from tests.server.plane import Plane

from valhalla.kit.log import get_logger


async def test_lines_are_sent_searched_and_followed(plane: Plane, issue: Issue) -> None:
    client = plane.client((await issue("logger", "logs:write"))["key"])
    mark = {"X-Correlation-ID": "logs-over-http"}
    sent = await client.post(
        "/system/logs", json={"level": "error", "category": "shop", "message": "over http"}, headers=mark
    )
    assert (sent.status_code, sent.json()) == (202, {"accepted": 1, "dropped": 0})
    batch = {"items": [{"message": f"batch {number}"} for number in range(3)]}
    assert (await client.post("/system/logs", json=batch)).json()["accepted"] == 3
    get_logger("shop").error("not in a request")
    await plane.runtime.features.logs.intake.batches.flush()
    found = (await client.get("/system/logs", params={"correlation_id": "logs-over-http"})).json()
    assert [(line["message"], line["owner"]) for line in found["items"]] == [("over http", "logger")]
    body = {"category": "general", "text": "batch", "limit": 2}
    page = (await client.post("/system/logs/query", json=body)).json()
    assert [line["message"] for line in page["items"]] == ["batch 2", "batch 1"]
    rest = (await client.post("/system/logs/query", json={**body, "cursor": page["next"]})).json()
    assert [line["message"] for line in rest["items"]] == ["batch 0"]
    followed = await client.post("/system/logs/query", json={**body, "after": page["newest"]})
    assert followed.json()["items"] == []
    nowhere = await client.post("/system/logs/query", json={**body, "after": ""})
    assert nowhere.status_code == 422


async def test_who_may_not_is_refused(team_a: httpx.AsyncClient) -> None:
    assert (await team_a.get("/system/logs")).status_code == 403
    assert (await team_a.post("/system/logs", json={"message": "x"})).status_code == 403
