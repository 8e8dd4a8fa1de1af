"""Who passes the gate, in which order is asked, and what a broken hook costs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from starlette.types import Receive, Scope, Send
from tests.gate.closing import ANN, KEY, Refuses, closed
from tests.gate.driving import ask, hello, scope

from valhalla.gate import Cors, Gate, Hooks
from valhalla.gate.contracts import Asking, Quota, Taken
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.http import principal_in


async def test_the_order_of_refusals() -> None:
    for refused, code, asked in (
        (("shield", "blocklist", "limits"), "shield", ["shield"]),
        (("blocklist", "limits"), "blocklist", ["shield", "blocklist"]),
        (("limits",), "limits", ["shield", "blocklist", "limits"]),
    ):
        hook = Refuses(*refused)
        gate = Gate(hello, closed(shield=hook, blocklist=hook, limits=hook))
        detail = (await ask(gate, scope(headers=KEY))).problem["detail"]
        assert detail == f"refused by {code}"
        assert hook.asked == asked


async def test_a_wrong_key_is_charged_and_refused() -> None:
    hook = Refuses()
    gate = Gate(hello, closed(limits=hook))
    answer = await ask(gate, scope(headers={"Authorization": "Bearer bad"}))
    assert (answer.status, answer.problem["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert hook.asked == ["limits"]
    hook = Refuses("limits")
    assert (await ask(Gate(hello, closed(limits=hook)), scope())).status == 403


async def test_who_passes_is_known_and_told_its_quota() -> None:
    seen: list[Principal | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(principal_in(scope))
        await hello(scope, receive, send)

    hook = Refuses()
    answer = await ask(Gate(app, closed(shield=hook, limits=hook)), scope(headers=KEY))
    assert (answer.status, seen) == (200, [ANN])
    assert answer.headers["ratelimit"] == '"global";r=9;t=6'
    assert answer.headers["ratelimit-policy"] == '"global";q=10;w=60'
    assert answer.headers["maintenance"] == "soon"


async def test_limits_of_the_fleet_are_waited_for() -> None:
    class Fleet:
        async def _later(self) -> Taken:
            await asyncio.sleep(0)
            return Taken([Quota("fleet", 1, 1.0, 0, 1.0)], Unavailable("valkey"))

        def take(self, asking: Asking) -> Awaitable[Taken]:
            return self._later()

    answer = await ask(Gate(hello, Hooks(limits=Fleet())), scope())
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert answer.headers["ratelimit"] == '"fleet";r=0;t=1'


async def test_a_broken_hook_lets_nobody_pass() -> None:
    class Broken(Refuses):
        def refuse(self, method: str, path: str, query: bytes, principal: Principal | None) -> Problem | None:
            raise KeyError("state unknown")

    answer = await ask(Gate(hello, Hooks(shield=Broken())), scope())
    assert (answer.status, answer.problem["code"]) == (500, "internal")
    assert "state unknown" not in answer.body.decode()


@pytest.mark.parametrize("hook", ["spans", "failed", "log"])
async def test_a_broken_listener_costs_no_answer(hook: str) -> None:
    def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("full")

    async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("x")

    assert (await ask(Gate(hello, Hooks(**{hook: broken})), scope())).status == 200  # type: ignore[arg-type]
    assert (await ask(Gate(fails, Hooks(**{hook: broken})), scope())).status == 500  # type: ignore[arg-type]


async def test_preflights_and_origins() -> None:
    gate = Gate(hello, closed(cors=Cors(["https://a.example"])))
    wanted = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization, x-a"}
    answer = await ask(gate, scope(method="OPTIONS", headers={"Origin": "https://a.example", **wanted}))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert answer.headers["access-control-allow-headers"] == "authorization, x-a"
    assert answer.headers["x-correlation-id"]
    evil = await ask(gate, scope(method="OPTIONS", headers={"Origin": "https://b.example", **wanted}))
    assert evil.status == 401
    assert "access-control-allow-origin" not in evil.headers
    assert evil.headers["vary"] == "Origin"
    for headers, status in ((KEY, 200), ({}, 401)):
        answer = await ask(gate, scope(headers={"Origin": "https://a.example", **headers}))
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, "https://a.example")
        assert "X-Correlation-ID" in answer.headers["access-control-expose-headers"]
    broken = {"Origin": "https://a.example", **wanted, "Access-Control-Request-Headers": "a\r\nx: y"}
    answer = await ask(gate, scope(method="OPTIONS", headers=broken))
    assert answer.headers["access-control-allow-headers"] == "Authorization, Content-Type"
    anyone = await ask(Gate(hello, Hooks(cors=Cors(["*"]))), scope(headers={"Origin": "null"}))
    assert anyone.headers["access-control-allow-origin"] == "*"
