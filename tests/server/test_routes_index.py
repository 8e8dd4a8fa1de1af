"""The index of routes over a control plane, and boots that must not happen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import httpx
import pytest
from fastapi import FastAPI
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

from valhalla.features.contracts import Feature
from valhalla.features.operations.flags.reading import reads_flag
from valhalla.features.operations.routes import boots
from valhalla.features.operations.routes.contracts import Route
from valhalla.features.operations.routes.reading import read
from valhalla.gate.switchboard import Overlap
from valhalla.kernel.principal import Principal
from valhalla.kit.http import set_principal
from valhalla.server.app import build

PATH = "/system/routes"


async def _all(client: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = (await client.get(PATH, params={**params, "limit": 40, **({"cursor": cursor} if cursor else {})})).json()
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            assert page["total"] == len(found)
            return found


async def test_every_route_once(admin: httpx.AsyncClient, plane: Plane) -> None:
    app: Any = plane.app

    found = await _all(admin)

    assert len({(path, method) for one in found for path in [one["path"]] for method in one["methods"]}) == sum(
        len(one["methods"]) for one in found
    )
    assert sorted(one["path"] for one in found) == sorted(route.path for route in app._app._app.routes)
    assert [one["id"] for one in found if one["scope"] is None and not one["public"]] == []


async def test_what_a_route_did(admin: httpx.AsyncClient) -> None:
    before = (await _all(admin, q="/system/info"))[0]

    await admin.get("/system/info")
    await admin.head("/system/info")

    [after] = await _all(admin, q="/system/info")
    assert after["requests"] == before["requests"] + 2
    # what other tests did before counts on
    assert after["error_rate"] * after["requests"] == pytest.approx((before["error_rate"] or 0) * before["requests"])
    assert 0 < after["p50"] <= after["p99"]
    assert after["scope"] == "sandbox:read"
    assert after["tags"] == ["system"]


async def test_filters(admin: httpx.AsyncClient) -> None:
    for params in ({"tag": "jobs"}, {"scope": "jobs:read"}, {"method": "delete"}, {"public": True}):
        found = await _all(admin, **params)
        assert 0 < len(found) < 60, params
    assert all(one["public"] for one in await _all(admin, public=True))
    refused(await admin.get(PATH, params={"cursor": "x"}), 422, "invalid-request")


async def test_operators_only(issue: Issue, plane: Plane) -> None:
    nobody = plane.client((await issue("routes-none", "sandbox:write"))["key"])

    refused(await nobody.get(PATH), 403, "forbidden")
    refused(await nobody.get(f"{PATH}/match", params={"path": "/"}), 403, "forbidden")
    refused(await plane.client().get(PATH), 401, "unauthenticated")


async def _match(client: httpx.AsyncClient, method: str, path: str, **params: Any) -> dict[str, Any]:
    answer = await client.get(f"{PATH}/match", params={"method": method, "path": path, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_would_stop_a_request(admin: httpx.AsyncClient, issue: Issue) -> None:
    found = await _match(admin, "GET", "/api/sandboxes/abc")
    assert found["allowed"]
    assert found["route"]["path"] == "/api/sandboxes/{reference}"
    assert found["parameters"] == {"reference": "abc"}

    assert [one["by"] for one in (await _match(admin, "GET", "/nowhere"))["stops"]] == ["path"]
    found = await _match(admin, "PATCH", "/system/info")
    assert (found["methods"], found["stops"][0]["status"]) == (["GET", "HEAD"], 405)
    assert (await _match(admin, "GET", "/system/info", anonymous=True))["stops"][0]["by"] == "authentication"
    assert (await _match(admin, "GET", "/live", anonymous=True))["allowed"]
    found = await _match(admin, "POST", "/api/sandboxes", scopes="sandbox:read,jobs:read")
    assert [(one["by"], one["status"]) for one in found["stops"]] == [("scope", 403)]
    other = await issue("routes-other", "jobs:read")
    found = await _match(admin, "POST", "/api/sandboxes", key=other["id"])
    assert [one["by"] for one in found["stops"]] == ["scope"]
    assert (await _match(admin, "GET", "/system/jobs", key=other["id"]))["allowed"]
    refused(await admin.get(f"{PATH}/match", params={"path": "/live", "key": "nobody"}), 422, "invalid-request")


async def test_a_limit_that_is_used_up_is_named(admin: httpx.AsyncClient, plane: Plane, issue: Issue) -> None:
    key = await issue("routes-limited", "sandbox:read")
    rule = {"name": "routes-test", "rate": "1/day", "kind": "exact", "subjects": [key["id"]]}
    assert (await admin.post("/system/rate-limits", json=rule)).status_code == 201
    try:
        limited = plane.client(key["key"])
        assert (await _match(admin, "GET", "/api/sandboxes", key=key["id"]))["allowed"]
        assert (await limited.get("/api/sandboxes")).status_code == 200

        found = await _match(admin, "GET", "/api/sandboxes", key=key["id"])

        assert [(one["by"], one["code"]) for one in found["stops"]] == [("limit", "quota-exceeded")]
        assert "routes-test" in found["stops"][0]["detail"]
        assert "routes-test" in found["route"]["limits"]
    finally:
        await admin.delete("/system/rate-limits/routes-test")


async def test_a_route_reads_a_flag_and_says_so(plane: Plane, admin: httpx.AsyncClient) -> None:
    body = {"variants": {"on": True, "off": False}, "defaultVariant": "off"}
    rule = {"if": [{"==": [{"var": "targetingKey"}, "routes-beta"]}, "on"]}
    assert (
        await admin.post("/system/flags", json={"key": "routes-beta", **body, "targeting": rule})
    ).status_code == 201
    app = FastAPI()

    @app.get("/new")
    async def new(beta: bool = reads_flag(plane.runtime.features.flags, "routes-beta", False)) -> bool:
        return beta

    async def known(scope: Any, receive: Any, send: Any) -> None:
        set_principal(scope, Principal("id", dict(scope["headers"])[b"x-owner"].decode(), frozenset()))
        await app(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="http://app") as client:
        asked = [(await client.get("/new", headers={"X-Owner": who})).json() for who in ("routes-beta", "another")]
    [route] = [each for each in app.routes if getattr(each, "path", None) == "/new"]

    assert asked == [True, False]
    assert read(route, None).flags == ("routes-beta",)
    assert await _all(admin, flag="routes-beta") == []
    await admin.delete("/system/flags/routes-beta")


async def test_boots_are_compared(plane: Plane, admin: httpx.AsyncClient) -> None:
    feature = plane.runtime.features.routes
    await asyncio.wait_for(feature.compared.wait(), 20)
    registry, db = feature._registry, plane.runtime.db
    served = feature.index.routes
    fewer = [one for one in served if one.path != "/live"]

    # a process of another test may have begun with other settings, and so with other routes
    await db.run(boots.note_boot, registry, "1", served)
    assert not await db.run(boots.note_boot, registry, "1", served)
    assert (await db.run(boots.note_boot, registry, "2", fewer)).removed == ("GET /live",)
    more = [*fewer, Route("GET /new", "/new", ("GET",), "new")]
    assert (await db.run(boots.note_boot, registry, "3", more)).added == ("GET /new",)
    await db.run(boots.note_boot, registry, "4", served)

    [last, third, second, *_] = (await admin.get(f"{PATH}/changes", params={"limit": 50})).json()["items"]
    assert (last["added"], last["removed"], last["before"]) == (["GET /live"], ["GET /new"], "3")
    assert (third["added"], third["removed"]) == (["GET /new"], [])
    assert (second["release"], second["removed"], second["routes"]) == ("2", ["GET /live"], len(fewer))


class Broken(Feature):
    name: ClassVar[str] = "broken"

    def routers(self) -> Sequence[Any]:
        raise RuntimeError("cannot be mounted")


class Twice(Feature):
    name: ClassVar[str] = "twice"

    def routers(self) -> Sequence[Any]:
        from fastapi import APIRouter

        routes = APIRouter()
        routes.add_api_route("/live", lambda: None)
        return (routes,)


@pytest.mark.parametrize(("feature", "error"), [(Broken, RuntimeError), (Twice, Overlap)])
def test_a_feature_that_fails_to_mount_stops_the_boot(
    plane: Plane, feature: type[Feature], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = type(plane.runtime.features)
    every = [*plane.runtime.features, feature()]
    monkeypatch.setattr(catalogue, "__iter__", lambda _: iter(every))

    with pytest.raises(error):
        build(plane.runtime)
