"""Limits that several processes count together, against the real Valkey."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable
from typing import Any

import httpx
import pytest
from tests.chaos.world import World
from tests.conftest import Servers
from tests.crash.control_plane import until
from tests.server.test_scanner import world  # noqa: F401 - a fixture

from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.gate.contracts import Asking, Taken
from valhalla.gate.quotas import Fleet, Quotas
from valhalla.kernel.principal import Principal

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take longer than a process waits for the count before it counts by itself."""
    monkeypatch.setattr("valhalla.gate.quotas.fleet._PATIENCE", 20.0)


def processes(servers: Servers, many: int, rate: str, **members: Any) -> list[Quotas]:
    """Return what each of several processes would count with."""
    url = servers.endpoints.valkey_url
    assert url is not None
    rule = LimitRule(f"fleet-{next(_numbers)}", rate, scope="key", count="fleet", **members)
    rules = (rule,)
    return [Quotas(lambda: rules, fleet=Fleet(url)) for _ in range(many)]


async def passes(quotas: Quotas, key: str = "k") -> bool:
    taken = quotas.take(Asking("GET", "/x", "/x", {}, None, Principal(key, "o", frozenset())))
    if isinstance(taken, Awaitable):
        taken = await taken
    assert isinstance(taken, Taken)
    return taken.refusal is None


async def closed(some: list[Quotas]) -> None:
    for one in some:
        await one.close()


async def test_a_strict_rule_is_exact_over_all_processes(servers: Servers) -> None:
    fleet = processes(servers, 3, "40/day", strict=True)

    passed = await asyncio.gather(*(passes(fleet[n % 3]) for n in range(60)))

    assert sum(passed) == 20
    assert await passes(fleet[0], "another")
    await closed(fleet)


async def test_shares_pass_the_limit_and_one_share_per_process_at_most(servers: Servers) -> None:
    fleet = processes(servers, 3, "400/day")

    passed = 0
    for n in range(900):
        passed += await passes(fleet[n % 3])
        if n % 10 == 0:
            # a moment for the shares to come
            await asyncio.sleep(0.002)
    share = 200 // 20
    assert 100 <= passed <= 200 + 3 * share
    await closed(fleet)


async def test_a_shared_count_does_not_make_a_request_wait(servers: Servers) -> None:
    [quotas] = processes(servers, 1, "1000/day")
    asking = Asking("GET", "/x", "/x", {}, None, Principal("k", "o", frozenset()))

    assert isinstance(quotas.take(asking), Taken)
    await closed([quotas])


async def test_without_valkey_each_process_counts_by_itself() -> None:
    rules = (LimitRule("alone", "4/day", scope="key", count="fleet", strict=True),)
    quotas = Quotas(lambda: rules, fleet=Fleet("redis://127.0.0.1:1"))

    assert [await passes(quotas) for _ in range(4)] == [True, True, False, False]
    begin = time.monotonic()
    assert await passes(quotas, "another")
    assert time.monotonic() - begin < 10
    await closed([quotas])


async def test_usage_is_that_of_all_processes(servers: Servers) -> None:
    one, two, three = processes(servers, 3, "1000/day", strict=True)
    for quotas, count in ((one, 3), (two, 4)):
        for _ in range(count):
            assert await passes(quotas)
    assert await passes(two, "another")
    await one.publish()
    await two.publish()
    for quotas in (one, two, three):
        found = await quotas.usage_of_all(1)
        [rule] = found["items"]
        assert (rule["taken"], rule["refused"]) == (8, 0)
        assert rule["top"] == [{"subject": "k", "taken": 7, "refused": 0}]
        assert found["processes"] >= 2
    assert three.usage(1)["items"][0]["taken"] == 0
    await closed([one, two, three])


async def test_usage_without_valkey_is_ones_own() -> None:
    rules = (LimitRule("alone", "4/day", scope="key", count="fleet", strict=True),)
    quotas = Quotas(lambda: rules, fleet=Fleet("redis://127.0.0.1:1"))
    assert await passes(quotas)
    await quotas.publish()
    found = await quotas.usage_of_all(5)
    assert (found["items"][0]["taken"], found["processes"]) == (1, 1)
    await closed([quotas])


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_console_shows_what_two_control_planes_count(world: World) -> None:  # noqa: F811
    headers = {"Authorization": f"Bearer {world.key}"}
    one, two = (httpx.Client(base_url=str(plane.url), headers=headers, timeout=20) for plane in world.planes)
    with one, two:
        rule = {"name": "shown", "rate": "1000/day", "scope": "global", "routes": ["/system/info"]}
        assert one.post("/system/rate-limits", json=rule).status_code == 201
        until(lambda: two.get("/system/rate-limits/shown").status_code == 200)
        time.sleep(0.2)
        for client, count in ((one, 3), (two, 4)):
            for _ in range(count):
                assert client.get("/system/info").status_code == 200

        def shown(client: httpx.Client) -> tuple[int, int]:
            found = client.get("/system/rate-limits/usage").json()
            [item] = [item for item in found["items"] if item["name"] == "shown"]
            return item["taken"], found["processes"]

        for client in (one, two):
            until(lambda: shown(client) == (7, 2), seconds=60)  # noqa: B023 - used up within this turn
