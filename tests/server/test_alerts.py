"""Alerts over HTTP, and Alertmanager's API as its clients speak it."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

from valhalla.kit.outbox import emit

_numbers = itertools.count()


@pytest.fixture(scope="module")
async def writer(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    return plane.client((await issue("http-alerts", "alerts:write"))["key"])


@pytest.fixture(scope="module")
async def reader(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    return plane.client((await issue("http-alerts", "alerts:read"))["key"])


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"http.test{next(_numbers)}"


async def raised(writer: httpx.AsyncClient, name: str, **members: Any) -> dict[str, Any]:
    answer = await writer.post("/system/alerts", json={"name": name, **members})
    assert answer.status_code == 201, answer.text
    return answer.json()["alert"]


def soon(**after: float) -> str:
    return (datetime.now(UTC) + timedelta(**after)).isoformat()


async def test_raise_show_acknowledge_resolve(writer: httpx.AsyncClient, reader: httpx.AsyncClient, name: str) -> None:
    first = await raised(writer, name, severity="critical", labels={"region": "eu"}, context={"api_key": "k"})
    again = await raised(writer, name, severity="critical", labels={"region": "eu"})
    shown = (await reader.get(f"/system/alerts/{first['fingerprint']}")).json()
    listed = (await reader.get("/system/alerts", params={"name": name, "status": "open"})).json()
    seen = await writer.post(f"/system/alerts/{first['id']}/acknowledge", json={"note": "mine"})
    done = await writer.post(f"/system/alerts/{first['id']}/resolve")

    assert (first["count"], again["count"], again["id"]) == (1, 2, first["id"])
    assert first["context"] == {"api_key": "***"}
    assert shown["id"] == first["id"]
    assert [one["id"] for one in listed["items"]] == [first["id"]]
    assert (seen.json()["status"], seen.json()["note"]) == ("acknowledged", "mine")
    assert done.json()["status"] == "resolved"
    problem = refused(await writer.post(f"/system/alerts/{first['id']}/resolve"), 409, "illegal-transition")
    assert problem["legal"] == ["open"]


async def test_who_may_what(
    plane: Plane, reader: httpx.AsyncClient, team_a: httpx.AsyncClient, writer: httpx.AsyncClient
) -> None:
    refused(await plane.client().get("/system/alerts"), 401, "unauthenticated")
    refused(await team_a.get("/system/alerts"), 403, "forbidden")
    refused(await reader.post("/system/alerts", json={"name": "x"}), 403, "forbidden")
    refused(await reader.post("/api/v2/alerts", json=[]), 403, "forbidden")
    refused(await writer.post("/system/alerts", json={"name": "x", "source": "job"}), 403, "forbidden")
    refused(await writer.post("/system/alerts", json={"name": "\n"}), 422, "invalid-request")
    refused(await reader.get("/system/alerts/nothing"), 404, "alert-not-found")


async def test_a_silence_covers_what_fits_until_it_is_ended(
    writer: httpx.AsyncClient, reader: httpx.AsyncClient, name: str
) -> None:
    alert = await raised(writer, name)
    made = await writer.post(
        f"/system/alerts/{alert['id']}/silence", json={"until": soon(hours=1), "reason": "planned"}
    )
    assert made.status_code == 201, made.text
    during = (await reader.get(f"/system/alerts/{alert['id']}")).json()
    listed = (await reader.get("/system/alerts/silences")).json()["items"]
    ended = await writer.delete(f"/system/alerts/silences/{made.json()['id']}")
    after = (await reader.get(f"/system/alerts/{alert['id']}")).json()

    assert during["silenced_by"] == [made.json()["id"]]
    assert made.json()["id"] in [one["id"] for one in listed]
    assert (ended.json()["state"], after["silenced_by"]) == ("expired", [])
    refused(await writer.delete(f"/system/alerts/silences/{made.json()['id']}"), 409, "silence-ended")
    body = {"until": soon(hours=1), "reason": "everything", "matchers": [{"name": "x", "value": ".*", "regex": True}]}
    refused(await writer.post("/system/alerts/silences", json=body), 422, "bad-matcher")
    refused(
        await writer.post(f"/system/alerts/{alert['id']}/silence", json={"until": soon(hours=-1), "reason": "late"}),
        422,
        "invalid-request",
    )


async def test_bulk_and_registries(writer: httpx.AsyncClient, reader: httpx.AsyncClient, name: str) -> None:
    rule = {"key": name, "match": name, "severity": "info"}
    made = await writer.post("/system/alerts/rules", json=rule)
    assert made.status_code == 201, made.text
    weighed = await raised(writer, name, severity="critical")
    would = (
        await writer.post(
            "/system/alerts/bulk", params={"dry_run": "true"}, json={"action": "resolve", "filter": {"name": name}}
        )
    ).json()
    nul = await writer.post("/system/alerts/bulk", json={"action": "resolve", "filter": {"text": "a\x00b"}})
    assert nul.status_code == 422, nul.text
    did = (await writer.post("/system/alerts/bulk", json={"action": "resolve", "filter": {"name": name}})).json()
    subscribed = await writer.post("/system/alerts/subscriptions", json={"key": name, "pattern": name})
    listed = await reader.get("/system/alerts/subscriptions")

    assert weighed["severity"] == "info"
    assert (would["changed"], would["dry_run"], did["changed"], did["ids"]) == (1, True, 1, [weighed["id"]])
    assert subscribed.status_code == 201, subscribed.text
    assert name in [one["key"] for one in listed.json()["items"]]
    assert (await writer.delete(f"/system/alerts/rules/{name}")).is_success
    refused(await writer.post("/system/alerts/rules", json={**rule, "threshold": 0}), 422, "invalid-request")


async def test_prometheus_sends_resends_and_resolves(
    writer: httpx.AsyncClient, reader: httpx.AsyncClient, name: str
) -> None:
    labels = {"alertname": name, "severity": "page", "instance": "db:9100", "empty": ""}
    sent = {
        "labels": labels,
        "annotations": {"summary": "The database is slow"},
        "startsAt": soon(minutes=-5),
        "endsAt": soon(minutes=4),
        "generatorURL": "http://prometheus/graph",
    }
    for _ in range(2):
        assert (await writer.post("/api/v2/alerts", json=[sent])).status_code == 200
    [shown] = (await reader.get("/api/v2/alerts", params={"filter": f'alertname="{name}"'})).json()
    [ours] = (await reader.get("/system/alerts", params={"name": name})).json()["items"]
    assert (await writer.post("/api/v2/alerts", json=[{**sent, "endsAt": soon(seconds=-1)}])).status_code == 200
    gone = (await reader.get("/api/v2/alerts", params={"filter": f"alertname={name}"})).json()
    [over] = (await reader.get("/system/alerts", params={"name": name})).json()["items"]

    assert shown["labels"] == {"alertname": name, "severity": "page", "instance": "db:9100"}
    assert shown["annotations"] == sent["annotations"]
    assert shown["generatorURL"] == sent["generatorURL"]
    assert shown["status"]["state"] == "active"
    assert shown["receivers"][0]["name"]
    assert abs(_at(shown["startsAt"]) - _at(sent["startsAt"])) < timedelta(milliseconds=2)
    assert abs(_at(shown["endsAt"]) - _at(sent["endsAt"])) < timedelta(milliseconds=2)
    assert (ours["severity"], ours["title"], ours["count"]) == ("critical", "The database is slow", 2)
    assert gone == []
    assert over["status"] == "resolved"


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_good_alerts_are_taken_beside_bad_ones(
    writer: httpx.AsyncClient, reader: httpx.AsyncClient, name: str
) -> None:
    bad = [
        {"labels": {}},
        {"labels": {"alertname": name}, "startsAt": soon(hours=1), "endsAt": soon(hours=-1)},
        {"labels": {"alertname": name, "n": "1"}, "startsAt": "0001-01-01T00:00:00.000Z", "annotations": None},
    ]
    problem = refused(await writer.post("/api/v2/alerts", json=bad), 400, "alerts-refused")
    taken = (await reader.get("/api/v2/alerts", params={"filter": f"alertname={name}"})).json()

    assert [error["pointer"] for error in problem["errors"]] == ["/0", "/1"]
    assert [one["labels"]["n"] for one in taken] == ["1"]
    for body in (b"", b"{}", b"[1]", b'[{"labels": {"a": 1}}]', b"[" * 50_000, b'[{"labels": {"a": "\xff"}}]'):
        headers = {"Content-Type": "application/json"}
        refused(await writer.post("/api/v2/alerts", content=body, headers=headers), 400, "alerts-refused")


async def test_amtool_s_silences(writer: httpx.AsyncClient, reader: httpx.AsyncClient, name: str) -> None:
    alert = await raised(writer, name)
    body = {
        "matchers": [{"name": "alertname", "value": f"{name}|other", "isRegex": True, "isEqual": True}],
        "startsAt": soon(minutes=-1),
        "endsAt": soon(hours=1),
        "createdBy": "somebody",
        "comment": "planned",
    }
    made = await writer.post("/api/v2/silences", json=body)
    assert made.status_code == 200, made.text
    silence_id = made.json()["silenceID"]
    longer = await writer.post("/api/v2/silences", json={**body, "id": silence_id, "endsAt": soon(hours=2)})
    params: dict[str, Any] = {"filter": [f"alertname={name}"]}
    [suppressed] = (await reader.get("/api/v2/alerts", params=params)).json()
    hidden = (await reader.get("/api/v2/alerts", params={**params, "silenced": "false"})).json()
    [listed] = [one for one in (await reader.get("/api/v2/silences")).json() if one["id"] == silence_id]
    assert (await writer.delete(f"/api/v2/silence/{silence_id}")).status_code == 200
    ended = (await reader.get(f"/api/v2/silence/{silence_id}")).json()

    assert longer.json() == {"silenceID": silence_id}
    assert suppressed["status"] == {
        "state": "suppressed",
        "silencedBy": [silence_id],
        "inhibitedBy": [],
        "mutedBy": [],
    }
    assert suppressed["fingerprint"] == alert["fingerprint"]
    assert hidden == []
    assert (listed["status"], listed["createdBy"], listed["comment"]) == ({"state": "active"}, "somebody", "planned")
    assert ended["status"] == {"state": "expired"}
    refused(await writer.delete(f"/api/v2/silence/{silence_id}"), 409, "silence-ended")
    refused(await reader.get("/api/v2/alerts", params={"filter": "=~"}), 422, "bad-matcher")


async def test_the_rest_of_what_stock_clients_ask(
    writer: httpx.AsyncClient, reader: httpx.AsyncClient, name: str
) -> None:
    await raised(writer, name, title="So it is")
    status = (await reader.get("/api/v2/status")).json()
    receivers = (await reader.get("/api/v2/receivers")).json()
    groups = (await reader.get("/api/v2/alerts/groups", params={"filter": f"alertname={name}"})).json()
    nobody = (await reader.get("/api/v2/alerts", params={"receiver": "no-such-receiver"})).json()

    assert {"cluster", "versionInfo", "config", "uptime"} <= status.keys()
    assert status["cluster"]["status"] == "disabled"
    assert receivers[0]["name"]
    [group] = groups
    assert group["labels"] == {"alertname": name}
    assert group["alerts"][0]["annotations"] == {"summary": "So it is"}
    assert nobody == []


async def test_metrics_ask_no_database(plane: Plane, writer: httpx.AsyncClient, name: str) -> None:
    before = await _metric(writer, "valhalla_alerts_raised_total")
    plane.runtime.features.alerts.service.raise_(name, "critical")
    await raised(writer, name)
    await plane.runtime.features.alerts.watch.look()

    assert await _metric(writer, "valhalla_alerts_raised_total") == before + 2
    assert await _metric(writer, 'valhalla_alerts{severity="error",status="open"}') >= 1
    assert await _metric(writer, "valhalla_alerts_dropped_total") == 0


async def _metric(client: httpx.AsyncClient, series: str) -> float:
    text = (await client.get("/metrics")).text
    [line] = [line for line in text.splitlines() if line.startswith(series + " ")]
    return float(line.rpartition(" ")[2])


async def test_an_event_of_the_outbox_becomes_an_alert(plane: Plane, reader: httpx.AsyncClient, name: str) -> None:
    db = plane.runtime.db
    for number in range(2):
        event = {"subject": f"job.{name}{number}".replace(".test", "test"), "type": "job.dead", "data": {"name": name}}
        await db.run(lambda conn, event=event: emit(conn, **event))

    deadline = time.monotonic() + 30
    while not (found := (await reader.get("/system/alerts", params={"text": name})).json()["items"]) or (
        found[0]["count"] < 2
    ):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)

    [alert] = found
    assert (alert["name"], alert["source"], alert["labels"]) == ("job.dead", "job", {"name": name})
    assert alert["title"] == f"Job {name} failed for good"
