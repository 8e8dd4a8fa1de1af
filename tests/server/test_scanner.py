"""A scanner against two real control planes that share their database: caught by any, shut out by all."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.chaos.world import World
from tests.crash.control_plane import until

SCANNER = "203.0.113.66"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def world() -> Iterator[World]:
    """Two processes behind a proxy that they trust: this test."""
    made = World(Path(tempfile.mkdtemp(prefix="vh-scan-")))
    try:
        made.open()
        for plane in made.planes:
            plane.environment["VALHALLA_TRUSTED_PROXIES"] = '["127.0.0.0/8"]'
            plane.kill(signal.SIGINT)
            plane.start()
        yield made
    finally:
        made.close()


def at(url: str | None, address: str) -> httpx.Client:
    assert url is not None
    return httpx.Client(base_url=url, headers={"X-Forwarded-For": address}, timeout=20)


def test_three_decoys_anywhere_and_every_process_shuts_it_out(world: World) -> None:
    urls = [plane.url for plane in world.planes]
    assert urls[0] != urls[1]
    with at(urls[0], SCANNER) as a, at(urls[1], SCANNER) as b, at(urls[1], "203.0.113.67") as other:
        assert (a.get("/docs").status_code, b.get("/docs").status_code) == (200, 200)
        # what a client in front of the trusted proxy claims is not believed
        liar = httpx.get(f"{urls[0]}/.env", headers={"X-Forwarded-For": f"203.0.113.67, {SCANNER}"})
        assert "DB_PASSWORD" in liar.text
        assert b.get("/wp-login.php").status_code == 200
        assert a.get("/.git/config").status_code == 403
        begun = time.monotonic()
        taken = []
        for client in (a, b):
            until(lambda: client.get("/docs").status_code == 403, seconds=20)  # noqa: B023 - used up within this turn
            taken.append(time.monotonic() - begun)
        # for people: what it takes is measured, and promised nowhere in a test
        print("shut out after", [f"{seconds * 1000:.0f} ms" for seconds in taken])
        assert a.get("/.env").json()["code"] == "blocked"
        assert other.get("/docs").status_code == 200

    admin = httpx.Client(base_url=str(urls[1]), headers={"Authorization": f"Bearer {world.key}"}, timeout=20)
    with admin:
        rules = admin.get("/system/security/blocklist", params={"limit": 200}).json()["items"]
        [rule] = [one for one in rules if one["value"] == SCANNER]
        assert (rule["source"], rule["severity"]) == ("policy:honeypots", "error")
        bouncer = admin.post("/system/api-clients", json={"owner": "edge", "scopes": ["bouncer"]}).json()["key"]
        pulled = httpx.get(
            f"{urls[0]}/v1/decisions/stream", params={"startup": "true"}, headers={"X-Api-Key": bouncer}, timeout=20
        )
        [decision] = [one for one in pulled.json()["new"] if one["value"] == SCANNER]
        assert (decision["scope"], decision["type"]) == ("Ip", "ban")
        ledger = admin.get("/system/audit", params={"kind": "policy"}).json()["items"]
        assert [one["details"]["subject"] for one in ledger if one["action"] == "policy.blocked"] == [SCANNER]

        def alerts() -> set[str]:
            found: Any = admin.get("/system/alerts", params={"text": SCANNER}).json()["items"]
            return {one["name"] for one in found}

        until(lambda: alerts() >= {"decoy.touched", "policy.blocked"})
        caught = admin.get("/system/security/honeypots/events", params={"address": SCANNER}).json()["items"]
        assert len(caught) == 3


def test_what_processes_count_alone_they_reach_together(world: World) -> None:
    """Nineteen paths that never were, at two processes: too few for either, and for both with one more."""
    address = "203.0.113.71"
    with httpx.Client(base_url=str(world.planes[0].url), headers={"Authorization": f"Bearer {world.key}"}) as admin:
        raised = admin.post("/system/security/mode", json={"mode": "elevated", "reason": "a test"})
        assert raised.status_code == 200, raised.text
    with at(world.planes[0].url, address) as a, at(world.planes[1].url, address) as b:
        for n in range(10):
            assert a.get(f"/nothing/{n}").status_code == 401
        for n in range(9):
            assert b.get(f"/nowhere/{n}").status_code == 401
        # what the other process counted has come: the metric says so
        until(lambda: all(_heard(world, number) >= count for number, count in ((0, 9), (1, 10))))
        assert a.get("/docs").status_code == b.get("/docs").status_code == 200
        b.get("/nowhere/else")
        for client in (a, b):
            until(lambda: client.get("/docs").status_code == 403)  # noqa: B023 - used up within this turn
        with at(world.planes[0].url, "203.0.113.72") as other:
            assert other.get("/docs").status_code == 200


def _heard(world: World, number: int) -> float:
    text = httpx.get(f"{world.planes[number].url}/metrics", headers={"Authorization": f"Bearer {world.key}"}).text
    [line] = [line for line in text.splitlines() if line.startswith("valhalla_security_counted_elsewhere_total ")]
    return float(line.split()[1])
