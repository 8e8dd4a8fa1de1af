"""Which rules of a blocklist an application enforces, and that it says what it cannot."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.gate.driving import ask, hello, scope

import valhalla
from valhalla.features.security.blocklist.contracts import FOREVER
from valhalla.features.security.blocklist.whence import Whence
from valhalla.gate.connected.blocking import Blocking
from valhalla.gate.connected.enforced import Enforced, Lack, Line
from valhalla.gate.connected.plane import Following
from valhalla.gate.connected.reporting import Reporter


def line(type_: str, value: str, action: str = "block", until: int | None = FOREVER) -> Line:
    return Line(action, type_, value, until)


@contextmanager
def following(*rules: Line, whence: Whence | None = None, **page: Any) -> Iterator[Blocking]:
    """What follows a list that never changes."""
    over = threading.Event()
    lines = [{"action": one.action, "type": one.type, "value": one.value, "until": one.until} for one in rules]

    def answer(request: httpx.Request) -> httpx.Response:
        if "since" in request.url.params:
            over.wait(30)
        return httpx.Response(200, json={"revision": 1, "known": True, "rules": lines, "next": None, **page})

    made = Blocking(lambda: httpx.Client(transport=httpx.MockTransport(answer), base_url="http://plane"), whence=whence)
    try:
        assert made.loaded.wait(10)
        yield made
    finally:
        made.stop()
        over.set()


def is_refused(blocking: Blocking, *, proxied: bool = True, path: str = "/", **headers: str) -> bool:
    sent = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return blocking.verdict("GET", path, "203.0.113.9", None, sent, proxied=proxied) is not None


def test_conditions_countries_and_operators_hold() -> None:
    rules = (
        line("cel", "request.method == 'GET' && request.path.startsWith('/internal')"),
        line("cel", "request.country == 'AQ'"),
        line("country", "KP"),
        line("asn", "64500"),
        line("country", "NO", "allow"),
    )
    with following(*rules, country_header="CF-IPCountry", asn_header="X-ASN") as blocking:
        assert is_refused(blocking, path="/internal/x")
        assert is_refused(blocking, cf_ipcountry="kp")
        assert is_refused(blocking, cf_ipcountry="AQ")
        assert is_refused(blocking, x_asn="AS64500")
        assert not is_refused(blocking, x_asn="AS64500", cf_ipcountry="NO")
        assert not is_refused(blocking, cf_ipcountry="DE")
        # whoever comes without a trusted proxy says nothing of himself
        assert not is_refused(blocking, proxied=False, cf_ipcountry="KP")
        assert not is_refused(blocking, path="/live", cf_ipcountry="KP")
        assert blocking.lacks() == []


def test_what_is_not_said_of_requests_is_told() -> None:
    rules = (line("country", "KP"), line("cel", "request . country == 'AQ'"), line("asn", "64500"))
    with following(*rules, country_header="CF-IPCountry") as blocking:
        (unnamed,) = blocking.lacks()
        assert unnamed[:2] == ("asn", 1)
        assert "Plane(asn_header=" in unnamed.why
        assert not is_refused(blocking, proxied=False, cf_ipcountry="KP")
        unseen, _ = blocking.lacks()
        assert unseen[:2] == ("country", 2)
        assert "none of 1 requests bore CF-IPCountry" in unseen.why
        # a proxy that says it once can say it
        assert is_refused(blocking, cf_ipcountry="KP")
        assert [lack.what for lack in blocking.lacks()] == ["asn"]
    with following(*rules, whence=Whence("X-Country", "X-ASN"), country_header="CF-IPCountry") as blocking:
        assert is_refused(blocking, x_country="KP")
        assert not is_refused(blocking, cf_ipcountry="KP")
        assert is_refused(blocking, x_asn="64500")
        assert blocking.lacks() == []


def test_what_this_release_does_not_know_is_told_and_allows_nothing() -> None:
    enforced = Enforced()
    odd = [
        line("cel", "request.planet == 'mars'"),
        line("cel", "(("),
        line("planet", "mars"),
        line("ip", "203.0.113.9", "challenge"),
        line("ip", "nonsense"),
    ]
    enforced.apply([*odd, line("ip", "203.0.113.9")])
    assert [(lack.what, lack.rules) for lack in enforced.unread()] == [("cel", 2), ("rule", 3)]
    assert len(enforced.index.blocked) == 1
    assert len(enforced.index.allowed) == 0
    enforced.apply([Line(one.action, one.type, one.value, None) for one in odd])
    assert enforced.unread() == []


def test_without_the_engine_of_conditions_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valhalla.features.security.policies", None)
    enforced = Enforced()
    enforced.apply([line("cel", "request.path == '/x'")])
    assert enforced.unread() == [Lack("cel", 1, "conditions need the package common-expression-language")]


class Lacking(valhalla.Plane):
    now = Following("1.1.1.1", 0.0, None, 3, [Lack("country", 2, "no header says it")])

    def status(self) -> Following:
        return self.now


async def test_health_says_it_to_anybody() -> None:
    def gone(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("gone")

    plane = Lacking(
        "http://plane", "vh_key", report=False, blocklist=False, transport=lambda: httpx.MockTransport(gone)
    )
    app = valhalla.install(hello, plane=plane, access_log=False)
    answer = await ask(app, scope("/health"))
    assert (answer.status, json.loads(answer.body)["status"]) == (503, "unavailable")
    plane._held = object  # type: ignore[method-assign,assignment,return-value]
    assert plane.health()[0] == 200
    assert plane.health()[1]["status"] == "degraded"
    # which rules is for the operator: who attacks would know the way in
    assert "country" not in str(plane.health()[1])
    await plane.close()


async def test_an_applications_own_health_stays() -> None:
    async def mine(_: Any) -> JSONResponse:
        return JSONResponse({"mine": True})

    def gone(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("gone")

    plane = valhalla.Plane(
        "http://plane", "vh_key", report=False, blocklist=False, transport=lambda: httpx.MockTransport(gone)
    )
    app = valhalla.install(
        Starlette(routes=[Route("/health", mine)]), plane=plane, public=["/health"], access_log=False
    )
    assert json.loads((await ask(app, scope("/health"))).body) == {"mine": True}
    await plane.close()


def test_the_control_plane_is_told_at_once_and_again() -> None:
    told: list[dict[str, Any]] = []
    twice = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        told.append(json.loads(request.content))
        if len(told) == 2:
            twice.set()
        return httpx.Response(204)

    reporter = Reporter(
        lambda: httpx.Client(transport=httpx.MockTransport(answer), base_url="http://plane"),
        lambda: Lacking.now,
        "shop",
    )
    reporter.start()
    while not told:
        assert not twice.wait(0.01)
    reporter.wake()
    assert twice.wait(20)
    reporter.stop()
    assert told[0] == told[1]
    assert (told[0]["name"], told[0]["lacks"]) == ("shop", [Lacking.now.lacks[0]._asdict()])
