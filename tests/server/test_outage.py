"""A backend that is away or hangs: what readiness, metrics and requests say meanwhile, and that all of it recovers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.engine import make_url
from tests.conftest import Servers
from tests.server.conftest import Make
from tests.server.plane import Plane, refused, running
from tests.server.proxy import Proxy

from valhalla.embedded import Endpoints
from valhalla.kit import natsauth
from valhalla.kit.settings import Settings

BACKENDS = ("postgres", "valkey", "nats")


class Shaky:
    """A control plane whose ways to its servers can be cut."""

    def __init__(self, plane: Plane, client: httpx.AsyncClient, ways: dict[str, Proxy]) -> None:
        self.plane, self.client, self.ways = plane, client, ways

    async def ready(self) -> httpx.Response:
        # what was well a moment ago is asked again
        self.plane.runtime.features.health.checks.forget()
        return await self.plane.client().get("/ready")

    async def until_ready(self, within: float = 20) -> dict[str, Any]:
        async with asyncio.timeout(within):
            while (answer := await self.ready()).status_code != 200 or not answer.json()["checks"]["changes"]["ok"]:
                await asyncio.sleep(0.1)
        return answer.json()

    async def metrics(self) -> dict[str, float]:
        answer = await self.plane.client().get("/metrics")
        assert answer.status_code == 200
        return samples(answer.text)


def samples(text: str) -> dict[str, float]:
    """Parse an exposition; a family that is there twice is an error."""
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), names
    return {
        sample.name + "".join(f"|{key}={value}" for key, value in sample.labels.items()): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture(scope="module")
async def shaky(plane: Plane, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shaky]:
    """The same cell as ``plane``, on the same servers, but on ways of its own."""
    control = plane.runtime.db.dsn
    assert servers.endpoints.valkey_url is not None
    assert servers.endpoints.nats_url is not None
    urls = {"postgres": control, "valkey": servers.endpoints.valkey_url, "nats": servers.endpoints.nats_url}
    ways = {name: Proxy(url) for name, url in urls.items()}
    for way in ways.values():
        await way.open()
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path_factory.mktemp("shaky"),
            "database_url": ways["postgres"].url(control),
            "valkey_url": ways["valkey"].url(urls["valkey"]),
            "nats_url": ways["nats"].url(urls["nats"]),
            "nats_operator_seed": natsauth.operator_key(servers.cell).seed,
            "nats_system_creds": natsauth.system_creds(servers.cell),
            "reap_interval": timedelta(days=1),
            "access_log": False,
        }
    )
    assert make_url(control).port != ways["postgres"].port
    async with running(settings, servers.cell, Endpoints()) as another:
        yield Shaky(another, another.client(await another.admin_key(), timeout=40), ways)
        for way in ways.values():
            way.thaw()
            await way.cut()


@pytest.mark.parametrize(
    "backend", ["postgres", *(pytest.param(name, marks=pytest.mark.slow) for name in BACKENDS if name != "postgres")]
)
async def test_a_backend_that_is_away(shaky: Shaky, backend: str) -> None:
    await shaky.until_ready()
    await shaky.ways[backend].cut()

    answer = await shaky.ready()

    assert answer.status_code == 503
    document = answer.json()
    assert document["status"] == "not-ready"
    assert [name for name in BACKENDS if not document["checks"][name]["ok"]] == [backend]
    check = document["checks"][backend]
    assert check["reason"]
    assert backend in check["help"].lower()
    live = await shaky.plane.client().get("/live")
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    assert "valhalla_feed_ok" in await shaky.metrics()

    before = time.monotonic()
    made = await shaky.client.post("/api/sandboxes", json={"owner": f"away-{backend}", "template": "empty"})
    problem = refused(made, 503, "backend-unavailable")
    assert problem["backend"] == backend
    assert made.headers["retry-after"].isdigit()
    assert "doctor" in problem["help"]
    assert time.monotonic() - before < 15

    await shaky.ways[backend].open()
    await shaky.until_ready()
    listed = await shaky.client.get("/api/sandboxes", params={"owner": f"away-{backend}"})
    assert [each["status"] for each in listed.json()["items"] if each["status"] == "running"] == []
    again = await shaky.client.post("/api/sandboxes", json={"owner": f"away-{backend}", "template": "empty"})
    assert again.status_code == 201, again.text
    await shaky.client.delete(f"/api/sandboxes/{again.json()['id']}", params={"wait": 10})


async def test_what_a_request_says_without_postgres(shaky: Shaky) -> None:
    await shaky.until_ready()
    await shaky.ways["postgres"].cut()
    try:
        calls: list[Callable[[], Coroutine[Any, Any, httpx.Response]]] = [
            lambda: shaky.client.get("/api/sandboxes"),
            lambda: shaky.client.get("/api/sandboxes/x"),
            lambda: shaky.client.delete("/api/sandboxes/x"),
            lambda: shaky.client.get("/system/audit"),
            lambda: shaky.client.get("/system/info"),
            lambda: shaky.client.post("/system/api-clients", json={"owner": "x", "scopes": ["sandbox:read"]}),
        ]
        for call in calls:
            assert refused(await call(), 503, "backend-unavailable")["backend"] == "postgres"
        # keys are told apart without it
        refused(await shaky.plane.client("nonsense").get("/api/sandboxes"), 401, "unauthenticated")
        document = (await shaky.ready()).json()
        assert document["checks"]["changes"]["ok"] is False
        assert "stale" in document["checks"]["changes"]["reason"]
        await asyncio.sleep(2.1)
        metrics = await shaky.metrics()
        assert metrics["valhalla_database_up"] == 0
        assert metrics["valhalla_feed_stale_seconds"] > 0
        assert not any(name.startswith("valhalla_sandboxes") for name in metrics)
    finally:
        await shaky.ways["postgres"].open()
    await shaky.until_ready()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["postgres", "valkey", "nats"])
async def test_a_backend_that_hangs(shaky: Shaky, backend: str) -> None:
    await shaky.until_ready()
    shaky.ways[backend].freeze()
    try:
        started = time.monotonic()
        answer = await shaky.ready()
        assert time.monotonic() - started < 10
        assert (answer.status_code, answer.json()["checks"][backend]["ok"]) == (503, False)
        assert answer.json()["checks"][backend]["reason"]
        assert (await shaky.plane.client().get("/live")).status_code == 200
        assert await shaky.metrics()
        assert time.monotonic() - started < 8
    finally:
        shaky.ways[backend].thaw()
    await shaky.until_ready(8)


async def test_the_metrics(plane: Plane, make: Make) -> None:
    await make()
    client = plane.client()
    await client.get("/nothing")
    await asyncio.sleep(2.05)

    metrics = samples((await client.get("/metrics")).text)

    assert metrics["valhalla_sandboxes|status=running"] >= 1
    assert {f"valhalla_sandboxes|status={status}" for status in ("creating", "destroying", "expired")} <= metrics.keys()
    assert metrics["valhalla_database_up"] == 1
    assert {"valhalla_events_waiting", "valhalla_events_oldest_seconds", "valhalla_ledger_unsealed"} <= metrics.keys()
    assert metrics["valhalla_feed_stale_seconds"] == 0
    assert metrics["valhalla_registry_revision|registry=api_clients"] >= 1
    assert metrics["valhalla_http_requests_total|method=GET|status=4xx"] >= 1
    assert metrics["valhalla_http_request_seconds_bucket|le=+Inf"] == metrics["valhalla_http_request_seconds_count"]
    assert metrics["process_resident_memory_bytes"] > 0


async def test_a_scrape_costs_no_query_per_request(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    read = plane.runtime.db.read
    # what runs in the background reads, too, and not for us
    ours: ContextVar[bool] = ContextVar("ours", default=False)
    ours.set(True)

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal reads
        reads += ours.get()
        return await read(*args, **kwargs)

    monkeypatch.setattr(plane.runtime.db, "read", counted)
    client = plane.client()
    began = time.monotonic()
    await asyncio.gather(*(client.get("/metrics") for _ in range(30)))

    # what was counted is good for two seconds, and a busy machine may take longer for all of them
    assert reads <= 5 * (1 + (time.monotonic() - began) // 2)
