"""The HTTP face of a registry: everything that each one promises, once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from typing import Annotated, Any

import httpx
import msgspec
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from sqlalchemy.engine import Connection

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Conflict, Invalid, PreconditionFailed, Problem
from valhalla.kit.db import Database
from valhalla.kit.http import WireModel, problem_response, scope_of, set_principal, validation_problem
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Change, Registry
from valhalla.kit.registry_routes import Face, registry_router
from valhalla.kit.registry_routes.matching import Conditions
from valhalla.kit.registry_routes.merging import merge

_numbers = itertools.count()


class Door(msgspec.Struct, frozen=True):
    """A record of the tests; ``secret`` never leaves."""

    name: str
    open: bool
    width: float = 1.0
    tags: tuple[str, ...] = ()
    note: str | None = None
    secret: str = "s3cret"


class Lock(WireModel):
    """A nested member."""

    turns: int = 1


class DoorModel(WireModel):
    """What clients send of a door."""

    open: bool = Field(examples=[True])
    width: Annotated[float, Field(gt=0, le=9)] = 1.0
    tags: list[str] = []
    note: str | None = None


def _narrow(door: Door) -> None:
    if door.note == "bad":
        raise Invalid("a note is not bad")


def _keep_main(conn: Connection, principal: Principal, changes: Sequence[Change]) -> None:
    if any(change.key == "main" and change.op == "delete" for change in changes):
        raise Conflict("the main door stays")


class House:
    """A registry with its routes, and the calls that settled its snapshot."""

    def __init__(self, db: Database, ledger: Ledger, **options: Any) -> None:
        self.registry = Registry(f"doors{next(_numbers)}", Door, ledger, validate=_narrow)
        self.settled = 0
        self.face = Face(
            registry=self.registry, prefix="/doors", tag="doors", noun="door", read="door:read", write="door:write",
            model=DoorModel, key="name", key_example="front", example={"open": True, "width": 2.0},
            filters=("open", "tags"), search=("note",), check=_keep_main, **options,
        )  # fmt: skip
        self.routes = registry_router(self.face, db, self._settle)
        self.app = FastAPI()
        self.app.include_router(self.routes)
        self.scopes = frozenset({"door:write"})

        @self.app.middleware("http")
        async def who(request: Request, call_next: Any) -> Any:
            set_principal(request.scope, Principal("ann", "team", self.scopes))
            return await call_next(request)

        async def problem(request: Request, error: Any) -> Any:
            return problem_response(error)

        async def validation(request: Request, error: Any) -> Any:
            return problem_response(validation_problem(error.errors()))

        self.app.add_exception_handler(Problem, problem)
        self.app.add_exception_handler(RequestValidationError, validation)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://house")

    async def _settle(self) -> None:
        self.settled += 1

    async def add(self, name: str, **members: Any) -> httpx.Response:
        answer = await self.http.post("/doors", json={"name": name, "open": True, **members})
        assert answer.status_code == 201, answer.text
        return answer


@pytest.fixture
def house(db: Database, ledger: Ledger) -> House:
    return House(db, ledger)


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


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


async def test_preconditions(house: House) -> None:
    await house.add("a")
    for headers, status in (
        ({"If-Match": '"9"'}, 412),
        ({"If-Match": 'W/"1"'}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-None-Match": 'W/"1"'}, 412),
        ({"If-Match": "1"}, 422),
        ({"If-Match": '"7", "1"'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-None-Match": '"9"'}, 200),
    ):
        answer = await house.http.put("/doors/a", json={"open": True}, headers=headers)
        assert answer.status_code == status, (headers, answer.text)
    assert (await house.http.put("/doors/b", json={"open": True}, headers={"If-Match": "*"})).status_code == 412
    assert (await house.http.put("/doors/b", json={"open": True}, headers={"If-None-Match": "*"})).status_code == 201
    assert (await house.http.delete("/doors/b", headers={"If-Match": '"1"'})).status_code == 412


async def test_one_of_many_writers_wins(house: House) -> None:
    await house.add("a")
    answers = await asyncio.gather(
        *(house.http.patch("/doors/a", json={"width": n}, headers={"If-Match": '"1"'}) for n in range(2, 8))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412, 412]


async def test_patches_of_different_members_are_both_kept(house: House) -> None:
    await house.add("a")
    await asyncio.gather(
        house.http.patch("/doors/a", json={"width": 4}), house.http.patch("/doors/a", json={"note": "both"})
    )
    record = (await house.http.get("/doors/a")).json()
    assert (record["width"], record["note"]) == (4, "both")


async def test_a_registry_can_insist_on_a_version(db: Database, ledger: Ledger) -> None:
    house = House(db, ledger, needs_match=True)
    await house.add("a")
    for answer in (
        await house.http.put("/doors/a", json={"open": True}),
        await house.http.patch("/doors/a", json={"open": True}),
        await house.http.delete("/doors/a"),
    ):
        assert code(answer) == (428, "precondition-required")
    assert (await house.http.delete("/doors/a", headers={"If-Match": '"1"'})).status_code == 204


async def test_a_dry_run_says_what_would_change_and_changes_nothing(house: House) -> None:
    await house.add("a")
    dry = {"dry_run": "true", "reason": "just looking"}
    post = await house.http.post("/doors", json={"name": "b", "open": True}, params=dry)
    put = await house.http.put("/doors/a", json={"open": False}, params=dry)
    patch = await house.http.patch("/doors/a", json={"width": 2}, params=dry)
    delete = await house.http.request("DELETE", "/doors/a", params=dry)
    back = await house.http.post("/doors/rollback", json={"to_revision": 0}, params=dry)
    for answer, op in ((post, "put"), (put, "put"), (patch, "put"), (delete, "delete"), (back, "delete")):
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["dry_run"], body["revision"], body["items"][0]["op"]) == (True, 2, op)
    assert patch.json()["items"][0]["differences"] == {"width": {"from": 1.0, "to": 2.0}}
    assert code(await house.http.post("/doors", json={"name": "a", "open": True}, params=dry)) == (
        409,
        "already-exists",
    )
    assert (await house.http.get("/doors/history")).json()["items"][0]["revision"] == 1
    assert house.settled == 1


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


async def test_history_diff_and_rollback(house: House) -> None:
    await house.add("a")
    await house.http.patch("/doors/a", json={"width": 2}, headers={"X-Reason": "wider"})
    await house.http.put("/doors/b", json={"open": True}, params={"reason": "another"})
    await house.http.delete("/doors/a", params={"reason": "gone"})
    page = (await house.http.get("/doors/history", params={"limit": 3})).json()
    assert [(e["revision"], e["op"], e["key"], e["reason"]) for e in page["items"]] == [
        (4, "delete", "a", "gone"), (3, "put", "b", "another"), (2, "put", "a", "wider"),
    ]  # fmt: skip
    assert page["items"][2]["differences"] == {"width": {"from": 1.0, "to": 2.0}}
    assert "secret" not in str(page)
    assert len((await house.http.get("/doors/history", params={"cursor": page["next"]})).json()["items"]) == 1
    assert [e["revision"] for e in (await house.http.get("/doors/a/history")).json()["items"]] == [4, 2, 1]
    assert code(await house.http.get("/doors/never/history")) == (404, "not-found")
    diff = (await house.http.get("/doors/diff", params={"before": 1, "limit": 1})).json()
    assert [(e["key"], e["after"]) for e in diff["items"]] == [("a", None)]
    rest = (await house.http.get("/doors/diff", params={"before": 1, "cursor": diff["next"]})).json()
    assert ([e["key"] for e in rest["items"]], rest["next"]) == (["b"], None)
    assert code(await house.http.get("/doors/diff", params={"before": 99})) == (404, "not-found")

    one = await house.http.post("/doors/a/rollback", json={"to_revision": 2})
    assert [(e["op"], e["key"]) for e in one.json()["items"]] == [("put", "a")]
    assert (await house.http.get("/doors/a")).json()["width"] == 2.0
    assert (await house.http.get("/doors/b")).status_code == 200
    assert code(await house.http.post("/doors/never/rollback", json={"to_revision": 2})) == (404, "not-found")
    everything = await house.http.post("/doors/rollback", json={"to_revision": 1}, params={"reason": "again"})
    assert {(e["op"], e["key"]) for e in everything.json()["items"]} == {("put", "a"), ("delete", "b")}
    assert code(await house.http.post("/doors/rollback", json={"to_revision": 999})) == (404, "not-found")


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_a_merge_is_idempotent_and_leaves_its_inputs(target: Any, patch: Any) -> None:
    before = msgspec.json.encode((target, patch))
    merged = merge(target, patch)
    assert merge(merged, patch) == merged
    assert msgspec.json.encode((target, patch)) == before
    if isinstance(patch, dict):
        assert all(name not in merged for name, value in patch.items() if value is None)


@given(st.text(max_size=40), st.integers(1, 9))
def test_any_header_is_judged(header: str, version: int) -> None:
    for conditions in (Conditions(match=header), Conditions(none_match=header)):
        with contextlib.suppress(Invalid, PreconditionFailed):
            conditions.require("k", version)
