"""The HTTP face of a registry: everything that each one promises, once."""

from __future__ import annotations

from typing import Any

import httpx
from fastapi import APIRouter, FastAPI
from tests.kit.house import House, code

from valhalla.kit.db import Database
from valhalla.kit.http import scope_of
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry_routes import registry_router


async def test_a_record_from_first_to_last(house: House) -> None:
    made = await house.add("front", note="oak")
    assert (made.headers["location"], made.headers["etag"]) == ("/doors/front", '"1"')
    record = made.json()
    assert {k: record[k] for k in record if not k.endswith("_at")} == {
        "name": "front", "open": True, "width": 1.0, "tags": [], "note": "oak", "version": 1,
    }  # fmt: skip
    assert "secret" not in record
    assert code(await house.http.post("/doors", json={"name": "front", "open": False})) == (409, "already-exists")
    got = await house.http.get("/doors/front")
    assert (got.json(), got.headers["etag"]) == (record, '"1"')
    assert (await house.http.get("/doors/front", headers={"If-None-Match": '"1"'})).status_code == 304

    merge_patch = {"If-Match": '"1"', "Content-Type": "application/merge-patch+json"}
    patched = await house.http.patch("/doors/front", json={"note": None, "width": 3}, headers=merge_patch)
    assert (patched.status_code, patched.json()["note"], patched.json()["width"], patched.headers["etag"]) == (
        200, None, 3.0, '"2"',
    )  # fmt: skip
    assert patched.json()["created_at"] == record["created_at"]
    replaced = await house.http.put("/doors/front", json={"open": False})
    assert (replaced.status_code, replaced.json()["width"]) == (200, 1.0)
    assert (await house.http.put("/doors/back", json={"open": False})).status_code == 201
    assert (await house.http.delete("/doors/front", headers={"If-Match": replaced.headers["etag"]})).status_code == 204
    assert code(await house.http.get("/doors/front")) == (404, "not-found")
    assert code(await house.http.delete("/doors/front")) == (404, "not-found")
    assert code(await house.http.patch("/doors/front", json={})) == (404, "not-found")
    assert house.settled == 5


async def test_a_mistyped_parameter_is_no_write(house: House) -> None:
    await house.add("a")
    for answer in (
        await house.http.delete("/doors/a", params={"dryrun": "true"}),
        await house.http.get("/doors", params={"opne": "true"}),
        await house.http.put("/doors/a", json={"open": True, "colour": "red"}),
        await house.http.patch("/doors/a", json={"colour": "red"}),
        await house.http.patch("/doors/a", json={"width": -1}),
        await house.http.patch("/doors/a", json={"open": None}),
        await house.http.patch("/doors/a", json=[]),
        await house.http.post("/doors", json={"name": "x", "open": True, "note": "bad"}),
        *[
            await house.http.post("/doors", json={"name": name, "open": True})
            for name in ("", "a b", "a/b", "history", "bulk", "..", "x" * 200, "a\x00")
        ],
        *[await house.http.put(f"/doors/{name}", json={"open": True}) for name in ("diff", "%7F", "a%20b")],
    ):
        assert code(answer) == (422, "invalid-request"), answer.request.url
    assert (await house.http.get("/doors")).json()["total"] == 1


async def test_lists_are_paged_filtered_and_searched(house: House) -> None:
    for n in range(5):
        await house.add(f"d{n}", open=n % 2 == 0, tags=["even"] if n % 2 == 0 else [], note=f"100%_{n}")

    async def names(**params: Any) -> list[str]:
        return [item["name"] for item in (await house.http.get("/doors", params=params)).json()["items"]]

    first = (await house.http.get("/doors", params={"limit": 2, "open": "true"})).json()
    assert ([item["name"] for item in first["items"]], first["total"]) == (["d0", "d2"], 3)
    assert await names(limit=2, open="true", cursor=first["next"]) == ["d4"]
    assert await names(tags="even") == ["d0", "d2", "d4"]
    assert await names(q="%_3") == ["d3"]
    assert await names(q="D4") == ["d4"]
    assert await names(q="0%") == [f"d{n}" for n in range(5)]
    assert await names(q="00_") == []
    for params in ({"limit": 0}, {"limit": 201}, {"cursor": "x!"}, {"open": "perhaps"}, {"q": ""}):
        assert code(await house.http.get("/doors", params=params)) == (422, "invalid-request")


async def test_bulk_is_all_or_nothing(house: House) -> None:
    await house.add("a")
    put = {"op": "put", "name": "b", "value": {"open": True}}
    bad = await house.http.post("/doors/bulk", json={"operations": [put, {"op": "delete", "name": "never"}]})
    assert code(bad) == (404, "not-found")
    stale = await house.http.post(
        "/doors/bulk", json={"operations": [put, {"op": "delete", "name": "a", "if_version": 9}]}
    )
    assert code(stale) == (412, "precondition-failed")
    assert (await house.http.get("/doors")).json()["total"] == 1
    done = await house.http.post(
        "/doors/bulk", json={"operations": [put, {"op": "delete", "name": "a", "if_version": 1}]}
    )
    assert ([e["op"] for e in done.json()["items"]], done.json()["revision"]) == (["put", "delete"], 3)
    for body in ({"operations": []}, {}, {"operations": [{"op": "steal", "name": "a"}]}, {"operations": [put] * 1001}):
        assert code(await house.http.post("/doors/bulk", json=body)) == (422, "invalid-request")


async def test_a_feature_may_refuse_what_would_change(house: House) -> None:
    await house.add("main")
    for answer in (
        await house.http.delete("/doors/main"),
        await house.http.delete("/doors/main", params={"dry_run": True}),
        await house.http.post("/doors/bulk", json={"operations": [{"op": "delete", "name": "main"}]}),
        await house.http.post("/doors/rollback", json={"to_revision": 0}),
        await house.http.post("/doors/main/rollback", json={"to_revision": 0}),
    ):
        assert code(answer) == (409, "conflict")
    assert (await house.http.get("/doors/main")).status_code == 200


async def test_keys_with_slashes(db: Database, ledger: Ledger) -> None:
    house = House(db, ledger, key_form=r"[a-z0-9/]{1,60}")
    made = await house.add("billing/limit")
    assert made.headers["location"] == "/doors/billing/limit"
    assert (await house.http.get("/doors/billing/limit")).json()["name"] == "billing/limit"
    assert len((await house.http.get("/doors/billing/limit/history")).json()["items"]) == 1
    for name in ("a//b", "/a", "a/", "a/history", "history/a"):
        assert code(await house.http.post("/doors", json={"name": name, "open": True})) == (422, "invalid-request")


async def test_scopes(house: House) -> None:
    routes: Any = house.routes.routes
    assert {scope_of(route) for route in routes} == {"door:read", "door:write"}
    house.scopes = frozenset({"door:read"})
    assert (await house.http.get("/doors")).status_code == 200
    door, back, many = {"open": True}, {"to_revision": 0}, {"operations": [{"op": "delete", "name": "a"}]}
    for method, path, body in (
        ("POST", "", {"name": "x", **door}),
        ("PUT", "/a", door),
        ("PATCH", "/a", door),
        ("DELETE", "/a", None),
        ("POST", "/bulk", many),
        ("POST", "/rollback", back),
        ("POST", "/a/rollback", back),
    ):
        assert code(await house.http.request(method, f"/doors{path}", json=body)) == (403, "forbidden"), (method, path)


def test_the_description_is_complete(house: House) -> None:
    document = house.app.openapi()
    bodies = 0
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            if "requestBody" in operation:
                bodies += 1
                name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                schema = document["components"]["schemas"][name]
                assert schema["additionalProperties"] is False
                required = [schema["properties"][member] for member in schema.get("required", [])]
                assert schema.get("examples") or all(member.get("examples") for member in required)
    assert bodies == 6
    assert document["components"]["schemas"]["DoorPatch"]["properties"]["width"]["anyOf"][0]["maximum"] == 9
    assert {"q", "open", "tags", "limit", "cursor"} == {
        p["name"] for p in document["paths"]["/doors"]["get"]["parameters"]
    }


async def test_own_routes_come_first(db: Database, ledger: Ledger) -> None:
    house = House(db, ledger)
    own = APIRouter(prefix="/doors")

    @own.get("/usage")
    async def usage() -> str:
        return "mine"

    app = FastAPI()
    app.include_router(registry_router(house.face, db, house._settle, own))
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://house")
    assert (await http.get("/doors/usage")).json() == "mine"
