"""Who changes a record of a registry says of which version: preconditions, merges, the past."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.house import House, code

from valhalla.kernel.problems import Invalid, PreconditionFailed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry_routes.matching import Conditions
from valhalla.kit.registry_routes.merging import merge


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
