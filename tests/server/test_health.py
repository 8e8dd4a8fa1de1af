"""What balancers and operators are told, over real backends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.server.plane import Plane, refused

from valhalla.features.observability.health import Sample, store, ways
from valhalla.features.observability.health.tables import health_marks
from valhalla.features.observability.health.trips import Trip
from valhalla.kernel.problems import Unavailable
from valhalla.kit.checks import Checks, Verdict
from valhalla.kit.outbox.tables import events


@pytest.fixture
async def failing(plane: Plane) -> AsyncIterator[str]:
    """A critical check that fails, for the length of a test."""
    checks = plane.runtime.features.health.checks
    checks.register("broken", lambda: Verdict(False, "it is broken"), help="Repair it.")
    yield "broken"
    checks.remove("broken")


async def test_ready_from_evidence(plane: Plane) -> None:
    """Every part wrote and read back, a job ran, an event came back from NATS; nothing is left of it."""
    answer = await plane.client().get("/readyz")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    async with asyncio.timeout(60):
        # on a busy machine a probe may be late, and the next is not
        while not all(answer.json()["checks"][name]["ok"] for name in ("work", "events")):
            await asyncio.sleep(0.5)
            answer = await plane.client().get("/readyz")
    checks = answer.json()["checks"]
    assert {"start", "postgres", "valkey", "nats", "sqlite", "work", "events", "heartbeats"} <= checks.keys()
    for name in ("postgres", "valkey", "nats", "sqlite", "work", "events"):
        assert checks[name]["ok"], checks[name]
        assert checks[name]["age_seconds"] is not None
    for name in ("postgres", "valkey", "nats", "sqlite"):
        assert checks[name]["latency_ms"] > 0
        assert checks[name]["critical"]
    assert not checks["work"]["critical"]
    count = sa.select(sa.func.count()).select_from(health_marks)
    assert await plane.runtime.db.read(lambda conn: conn.execute(count).scalar_one()) == 0


@pytest.mark.parametrize("path", ["/live", "/livez"])
async def test_alive_whatever_is_wrong(plane: Plane, failing: str, path: str) -> None:
    answer = await plane.client().get(path)
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


@pytest.mark.parametrize("path", ["/ready", "/readyz", "/health"])
async def test_not_ready_says_why(plane: Plane, failing: str, path: str) -> None:
    """503, with the check, its reason and what to do; without that check it is ready."""
    client = plane.client()
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["status"]) == (503, "not-ready")
    check = answer.json()["checks"]["broken"]
    assert (check["ok"], check["reason"], check["help"]) == (False, "it is broken", "Repair it.")
    for query in ({"exclude": "broken"}, {"exclude": "nothing, broken"}, {"exclude": ["disk", "broken"]}):
        without = await client.get(path, params=query)
        assert without.status_code == 200, without.text
        assert "broken" not in without.json()["checks"]


async def test_verbose_says_more(plane: Plane) -> None:
    answer = (await plane.client().get("/readyz?verbose")).json()
    assert (answer["phase"], answer["uptime_seconds"] >= 0, answer["status"]) == ("serving", True, "ready")
    assert "phase" not in (await plane.client().get("/readyz")).json()


async def test_one_check(plane: Plane, failing: str) -> None:
    """By its path: 200, 503, or 404."""
    client = plane.client()
    well = await client.get("/readyz/valkey")
    assert (well.status_code, well.json()["check"], well.json()["ok"]) == (200, "valkey", True)
    bad = await client.get("/readyz/broken")
    assert (bad.status_code, bad.json()["reason"]) == (503, "it is broken")
    refused(await client.get("/live/readyz/none"), 401, "unauthenticated")
    missing = await client.get("/readyz/none")
    assert (missing.status_code, missing.json()["code"]) == (404, "not-found")


async def test_health_json(plane: Plane, failing: str) -> None:
    """The draft's form, to who accepts it."""
    answer = await plane.client().get("/health", headers={"Accept": "application/health+json"})
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/health+json")
    document = answer.json()
    assert document["status"] == "fail"
    (item,) = document["checks"]["broken:responseTime"]
    assert (item["status"], item["output"]) == ("fail", "it is broken")
    assert document["checks"]["postgres:responseTime"][0]["status"] == "pass"


async def test_probes_are_cheap(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask at once, a backend is asked once in a second."""
    asked = 0
    ping = plane.runtime.backends.sqlite.ping
    call = plane.runtime.backends.valkey._server.call_all  # pyright: ignore[reportPrivateUsage]

    async def counted(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        return await call(*args)

    assert ping
    monkeypatch.setattr(plane.runtime.backends.valkey._server, "call_all", counted)
    client = plane.client()
    answers = await asyncio.gather(*(client.get("/readyz/valkey") for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}
    assert asked <= 3


async def test_it_drains(plane: Plane) -> None:
    """Not ready first, while requests are still answered; and not before the start has finished."""
    health, client = plane.runtime.features.health, plane.client()
    try:
        for phase in ("starting", "stopping"):
            health.phase = phase
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["checks"]["start"]["reason"]) == (503, f"it is {phase}")
            assert (await client.get("/livez")).status_code == 200
    finally:
        health.phase = "serving"


async def test_losing_and_regaining_readiness_is_told(plane: Plane, failing: str) -> None:
    """Once each, with the reasons, as events."""
    health = plane.runtime.features.health
    await health.watch.look()
    await health.watch.look()
    health.checks.remove(failing)
    await health.watch.look()
    query = sa.select(events).where(events.c.subject.like("readiness.%")).order_by(events.c.id.desc()).limit(2)
    rows = await plane.runtime.db.read(lambda conn: conn.execute(query).mappings().all())
    assert [row["type"] for row in rows] == ["readiness.regained", "readiness.lost"]
    assert rows[1]["data"]["reasons"]["broken"] == "it is broken"
    assert rows[0]["data"]["lasted_seconds"] >= 0


async def test_a_sample_and_the_history(plane: Plane, admin: httpx.AsyncClient) -> None:
    """Stored, thinned out by step, and refused in nonsense spans."""
    health, db = plane.runtime.features.health, plane.runtime.db
    await health.sampler.sample()
    assert health.sampler.last is not None
    assert 10 <= len(health.sampler.last.numbers) <= 30
    overview = (await admin.get("/system/health")).json()
    assert overview["samples"][0]["numbers"]["database.up"] == 1
    assert overview["checks"]["valkey"]["ok"]

    base = plane.runtime.clock.now().replace(microsecond=0) - timedelta(days=2)
    samples = [Sample(base + timedelta(seconds=10 * n), "test-host", {"x": n}) for n in range(60)]
    await db.run(store.add, samples)
    await db.run(store.add, samples[:1])
    span = {"from": base.isoformat(), "to": (base + timedelta(minutes=10)).isoformat(), "source": "test-host"}
    items = (await admin.get("/system/health/history", params={**span, "step": 60})).json()["items"]
    assert [item["numbers"]["x"] for item in items] == [5, 11, 17, 23, 29, 35, 41, 47, 53, 59]
    whole = (await admin.get("/system/health/history", params=span)).json()
    assert (whole["step_seconds"], len(whole["items"])) == (10, 60)

    for bad in (
        {"from": span["to"], "to": span["from"]},
        {"from": (base - timedelta(days=60)).isoformat()},
        {**span, "from": (base - timedelta(days=7)).isoformat(), "step": 10},
        {"from": "2026-01-01T00:00:00"},
        {"step": "nan"},
        {"step": 0},
    ):
        assert (await admin.get("/system/health/history", params=bad)).status_code == 422, bad


async def test_who_may_look(plane: Plane) -> None:
    """The probes are everybody's, the overview is not."""
    for path in ("/system/health", "/system/health/history"):
        refused(await plane.client().get(path), 401, "unauthenticated")


async def test_a_sample_waits_for_the_database(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost while it is away, and it is bounded."""
    sampler, stored = plane.runtime.features.health.sampler, []

    async def away(*_: Any) -> None:
        raise Unavailable("postgres")

    async def back(_function: Any, batch: list[Sample]) -> None:
        stored.extend(batch)

    monkeypatch.setattr(sampler, "_db", type("Away", (), {"run": staticmethod(away)}))
    for _ in range(3):
        with pytest.raises(Unavailable):
            await sampler.sample()
    monkeypatch.setattr(sampler, "_db", type("Back", (), {"run": staticmethod(back)}))
    await sampler.sample()
    assert len(stored) == 4


async def test_the_checks_are_metrics(plane: Plane, failing: str) -> None:
    """One series a check, whatever was asked for."""
    client = plane.client()
    await client.get("/readyz")
    await client.get("/readyz/whatever")
    text = (await client.get("/metrics")).text
    assert "valhalla_ready 0.0" in text
    assert 'valhalla_check_ok{check="broken"} 0.0' in text
    assert 'valhalla_check_ok{check="postgres"} 1.0' in text
    assert "whatever" not in text


async def test_a_way_that_ends_nowhere() -> None:
    """Is told as late, without stopping what comes after; the end does not wait for it."""

    async def nowhere() -> None:
        await asyncio.Event().wait()

    async def refuses() -> None:
        raise ways.WayError("its job is dead")

    stop = asyncio.Event()
    trips = [Trip(nowhere, what="it", every=60, within=0.02), Trip(refuses, what="it", every=60, within=5)]
    tasks = [asyncio.create_task(trip.run(stop)) for trip in trips]
    assert [(await trip.check()).reason for trip in trips] == ["it did not arrive within 0.02 s", "it: its job is dead"]
    hanging = Trip(nowhere, what="it", every=60, within=600)
    tasks.append(asyncio.create_task(hanging.run(stop)))
    checks = Checks()
    checks.register("x", hanging.check, timeout=0.02)
    assert (await checks.run())["x"].late
    stop.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
