"""An application that follows a control plane: what it makes of answers, and of none."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from starlette.testclient import TestClient
from tests.gate.driving import ask, hello, scope

import valhalla
from valhalla.features.operations.clients import rules
from valhalla.gate.connected.held import is_behind, read, successor
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Misconfigured

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = rules.mint("aaaaaaaaaaaaaaaa", "local")


def part(revision: int, **records: Any) -> dict[str, Any]:
    rows = [{"key": key, "updated_at": NOW.isoformat(), "value": value} for key, value in records.items()]
    return {"revision": revision, "records": rows}


def client(key: str = KEY, **members: Any) -> dict[str, Any]:
    about = {"id": key.split("_")[2][:16], "name": "n", "owner": "o", "scopes": [], "digest": rules.digest(key)}
    return {**about, "prefix": "p", "created_by": "c", "created_at": NOW.isoformat(), **members}


def told(revision: str = "1.1.1.1", **parts: Any) -> bytes:
    registries = {
        "api_clients": part(1, a=client()),
        "rate_limits": part(1),
        "maintenance_state": part(1),
        "maintenance_windows": part(1),
        "of-a-newer-release": {"whatever": 1},
        **parts,
    }
    return json.dumps({"revision": revision, "environment": "local", "notice": 900, "registries": registries}).encode()


class Answers(httpx.BaseTransport):
    """Answers with what it was given last, at once."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []
        self.again = threading.Event()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(dict(request.url.params))
        if self.answers:
            return self.answers.pop(0)
        self.again.set()
        time.sleep(0.01)
        raise httpx.ConnectError("gone")


def plane(*answers: httpx.Response, **options: Any) -> tuple[valhalla.Plane, Answers]:
    # the blocklist is followed beside it: it would take these answers
    options.setdefault("blocklist", False)
    options.setdefault("report", False)
    transport = Answers(*answers)
    return valhalla.Plane("http://plane", "vh_key", transport=lambda: transport, **options), transport


def test_what_did_not_change_stays() -> None:
    first = successor(None, *read(told(rate_limits=part(3, r={"name": "r", "rate": "1/s"}))), Clock())
    assert [rule.name for rule in first.limits] == ["r"]
    document, parts = read(told("2.1.1.1"))
    later = successor(first, document, {"api_clients": parts["api_clients"]}, Clock())
    assert later.limits is first.limits
    assert later.leases == first.leases
    assert rules.lease_of(KEY, later.leases, "local", NOW)


def test_who_lags_is_not_believed() -> None:
    held = successor(None, *read(told(api_clients=part(7))), Clock())
    assert is_behind(held, read(told(api_clients=part(6)))[1])
    assert not is_behind(held, read(told(api_clients=part(7)))[1])
    assert not is_behind(None, read(told())[1])


@pytest.mark.parametrize(
    "change",
    [
        {"api_clients": part(1, a={"id": 7})},
        {"api_clients": part(1, a=client(networks=["nowhere"]))},
        {"rate_limits": part(1, r={"name": "r", "rate": "1/s", "scope": "moon"})},
        {"maintenance_windows": part(1, w={"name": "w", "start": "x", "end": "y"})},
        {"maintenance_state": None},
    ],
    ids=["client", "network", "scope", "window", "state"],
)
def test_half_of_what_holds_is_not_taken(change: dict[str, Any]) -> None:
    with pytest.raises(Exception) as refused:  # noqa: PT011 - whatever it is, nothing was taken
        successor(None, *read(told(**change)), Clock())
    assert isinstance(refused.value, msgspec.MsgspecError | ValueError | KeyError | valhalla.kernel.problems.Problem)


def test_a_missing_registry_is_said() -> None:
    document, parts = read(told())
    del parts["maintenance_state"]
    with pytest.raises(KeyError, match="maintenance_state"):
        successor(None, document, parts, Clock())


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401),
        httpx.Response(503),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(302, headers={"location": "http://elsewhere"}),
        httpx.Response(200, content=told(rate_limits={"revision": "one"})),
    ],
    ids=["refused", "unsure", "html", "redirect", "odd"],
)
async def test_while_nothing_is_known_nobody_passes(answer: httpx.Response) -> None:
    following, answers = plane(answer)
    app = valhalla.install(hello, plane=following, public=["/public"], access_log=False)
    # the first request begins to follow
    assert (await ask(app, scope("/"))).status == 503
    assert answers.again.wait(20)
    for path in ("/", "/public", "/system/rate-limits"):
        refused = await ask(app, scope(path, headers={"Authorization": f"Bearer {KEY}"}))
        assert (refused.status, json.loads(refused.body)["code"]) == (503, "control-plane-unknown")
        assert refused.headers["retry-after"]
    # or an orchestrator would end it
    assert (await ask(app, scope("/live"))).status == 401
    assert following.status().revision is None
    assert following.status().error
    await following.close()


async def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.002)


async def test_what_was_told_holds_on() -> None:
    following, answers = plane(httpx.Response(200, content=told()), httpx.Response(500))
    app = valhalla.install(hello, plane=following, public=["/live"], access_log=False)
    assert await following.ready()
    assert answers.again.wait(5)
    assert answers.asked[:2] == [{}, {"watch": "1.1.1.1", "wait": "25"}]
    await until(lambda: following.status().error is not None)
    for key, status in ((KEY, 200), (KEY[:-1] + "x", 401), (rules.mint("a" * 16, "local"), 401)):
        assert (await ask(app, scope("/", headers={"Authorization": f"Bearer {key}"}))).status == status
    assert (await ask(app, scope("/live"))).status == 200
    await following.close()


class Late(Clock):
    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def test_too_old_is_unknown() -> None:
    clock = Late()
    following, _ = plane(httpx.Response(200, content=told()), max_age=60, clock=clock)
    app = valhalla.install(hello, plane=following, access_log=False)
    assert await following.ready()
    headers = {"Authorization": f"Bearer {KEY}"}
    assert (await ask(app, scope("/", headers=headers))).status == 200
    clock.ahead = 61.0
    assert (await ask(app, scope("/", headers=headers))).status == 503
    await following.close()


async def test_limits_and_maintenance() -> None:
    state = {"mode": "read_only", "reason": "moving", "since": NOW.isoformat()}
    change = {
        "api_clients": part(1, a=client(), b=client(SECOND, scopes=["maintenance:bypass"])),
        "rate_limits": part(1, r={"name": "r", "rate": "2/hour", "kind": "exact", "routes": ["/few"]}),
        "maintenance_state": part(1, current=state),
    }
    following, _ = plane(httpx.Response(200, content=told(**change)))
    app = valhalla.install(hello, plane=following, access_log=False)
    assert await following.ready()
    headers = {"Authorization": f"Bearer {KEY}"}
    assert [(await ask(app, scope("/few", headers=headers))).status for _ in range(3)] == [200, 200, 429]
    for method, path in (("POST", "/"), ("POST", "/system/maintenance/state"), ("PUT", "/?dry_run=true")):
        refused = await ask(app, scope(path, method=method, headers=headers))
        assert (refused.status, json.loads(refused.body)["mode"]) == (503, "read_only")
        assert "mode=read_only" in refused.headers["valhalla-maintenance"]
    passes = await ask(app, scope("/", method="POST", headers={"Authorization": f"Bearer {SECOND}"}))
    assert passes.status == 200
    await following.close()


SECOND = rules.mint("bbbbbbbbbbbbbbbb", "local")


async def test_windows_are_kept_by_the_clock_here() -> None:
    class Moved(Clock):
        at = NOW

        def now(self) -> datetime:
            return self.at

    clock = Moved()
    window = {"name": "w", "start": "2026-01-01T01:00:00", "end": "2026-01-01T02:00:00"}
    following, _ = plane(httpx.Response(200, content=told(maintenance_windows=part(1, w=window))), clock=clock)
    assert await following.ready()
    seen: list[bool] = []
    for minutes in (0, 60, 119, 120):
        clock.at = NOW + timedelta(minutes=minutes)
        seen.append(following.refuse("POST", "/", b"", None) is not None)
    assert seen == [False, True, True, False]
    await following.close()


def test_the_first_answer_comes_before_the_start() -> None:
    following, _ = plane(httpx.Response(200, content=told()))
    from starlette.applications import Starlette

    app = valhalla.install(Starlette(), plane=following, access_log=False)
    with TestClient(app) as asks:
        assert following.status().revision == "1.1.1.1"
        assert asks.get("/", headers={"Authorization": f"Bearer {KEY}"}).status_code == 404


def test_a_wrong_address_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VALHALLA_URL", raising=False)
    monkeypatch.delenv("VALHALLA_API_KEY", raising=False)
    for url, key in ((None, "k"), ("plane:8420", "k"), ("http://plane", None), ("http://plane", "k\n")):
        with pytest.raises(Misconfigured):
            valhalla.Plane(url, key)
    assert "vh_" not in repr(plane()[0])
