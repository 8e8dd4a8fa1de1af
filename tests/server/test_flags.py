"""Flags over HTTP: definitions and what is refused, the kill switch, OFREP in its own forms, following changes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

FLAGS = "/system/flags"
OFREP = "/ofrep/v1/evaluate/flags"
SWITCH = {"variants": {"on": True, "off": False}, "defaultVariant": "off"}


async def make(admin: httpx.AsyncClient, key: str, **members: Any) -> None:
    answer = await admin.post(FLAGS, json={"key": key, **SWITCH, **members})
    assert answer.status_code == 201, answer.text


async def ask(client: httpx.AsyncClient, key: str, **context: Any) -> Any:
    return (await client.post(f"{OFREP}/{key}", json={"context": context})).json()


@pytest.fixture
async def evaluator(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    """Who may evaluate and nothing else."""
    return plane.client((await issue("flag-reader", "flags:read"))["key"])


async def test_a_flag_in_flagds_format_from_first_to_last(admin: httpx.AsyncClient) -> None:
    await make(admin, "life", targeting={"if": [{"==": [{"var": "plan"}, "pro"]}, "on"]}, metadata={"team": "web"})
    assert await ask(admin, "life", plan="pro") == {
        "key": "life", "value": True, "variant": "on", "reason": "TARGETING_MATCH", "metadata": {"team": "web"},
    }  # fmt: skip
    assert (await ask(admin, "life"))["reason"] == "DEFAULT"
    shown = (await admin.get(f"{FLAGS}/life")).json()
    assert (shown["buckets"], shown["killed"], shown["targeting"]["if"][1]) == ("v3", False, "on")
    patched = await admin.patch(
        f"{FLAGS}/life", json={"state": "DISABLED"}, headers={"If-Match": f'"{shown["version"]}"'}
    )
    assert patched.status_code == 200
    # every client needs a variant, none takes a null
    assert await ask(admin, "life", plan="pro") == {
        "key": "life", "variant": "", "reason": "DISABLED", "metadata": {"team": "web"},
    }  # fmt: skip
    back = await admin.post(f"{FLAGS}/life/rollback", json={"to_revision": shown["version"]})
    assert back.status_code == 200
    assert (await ask(admin, "life", plan="pro"))["value"] is True
    assert [each["op"] for each in (await admin.get(f"{FLAGS}/life/history")).json()["items"]] == ["put"] * 3
    assert (await admin.delete(f"{FLAGS}/life")).status_code == 204
    gone = await admin.post(f"{OFREP}/life", json={})
    assert (gone.status_code, gone.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")


async def test_what_is_refused_points_at_the_member(admin: httpx.AsyncClient) -> None:
    def pointer(problem: dict[str, Any]) -> str:
        return problem["errors"][0]["pointer"]

    async def bad(key: str, **members: Any) -> dict[str, Any]:
        return refused(await admin.post(FLAGS, json={"key": key, **SWITCH, **members}), 422, "flag-bad-definition")

    assert pointer(await bad("bad", defaultVariant="maybe")) == "/defaultVariant"
    split = {"if": [True, {"fractional": [["on", 0]]}]}
    assert pointer(await bad("bad", targeting=split)) == "/targeting/if/1/fractional"
    assert pointer(await bad("bad", prerequisites=[{"flag": "nobody", "variants": ["on"]}])) == "/prerequisites/0/flag"
    assert pointer(await bad("bad", targeting={"$ref": "nobody"})) == "/targeting"
    await make(admin, "ring-a")
    await make(admin, "ring-b", prerequisites=[{"flag": "ring-a", "variants": ["on"]}])
    members = {"prerequisites": [{"flag": "ring-b", "variants": ["on"]}]}
    circle = refused(await admin.patch(f"{FLAGS}/ring-a", json=members), 422, "flag-bad-definition")
    assert circle["path"] == ["ring-a", "ring-b", "ring-a"]
    dry = await admin.patch(f"{FLAGS}/ring-a", json=members, params={"dry_run": "true"})
    refused(dry, 422, "flag-bad-definition")
    used = refused(await admin.delete(f"{FLAGS}/ring-a"), 409, "flag-in-use")
    assert used["flags"] == ["ring-b"]
    narrower = {**SWITCH, "variants": {"off": False}}
    refused(await admin.put(f"{FLAGS}/ring-a", json=narrower), 409, "flag-in-use")
    refused(await admin.post(FLAGS, json={"key": "stale", **SWITCH}), 422, "invalid-request")


async def test_a_definition_is_thought_through_before_it_is_stored(admin: httpx.AsyncClient) -> None:
    def split(on: int) -> dict[str, Any]:
        shares = [{"var": "account.id"}, ["on", on], ["off", 100 - on]]
        return {"if": [{"==": [{"var": "plan"}, "pro"]}, "on", {"fractional": shares}]}

    async def think(key: str, on: int, **more: Any) -> Any:
        body = {"key": key, "definition": {**SWITCH, "targeting": split(on)}, "samples": 500, **more}
        answer = await admin.post(f"{FLAGS}/preview", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    fresh = await think("thought", 0)
    assert (fresh["before"], fresh["after"], fresh["varied"]) == (None, {"off": 500}, ["account.id", "targetingKey"])
    await make(admin, "thought", targeting=split(10))
    more = await think("thought", 50)
    assert sum(more["before"].values()) == sum(more["after"].values()) == 500
    # whoever has it keeps it when its share grows
    assert [(one["before"], one["after"]) for one in more["moved"]] == [("off", "on")]
    assert more["moved"][0]["keys"] == more["after"]["on"] - more["before"]["on"] > 0
    pro = await think("thought", 0, context={"plan": "pro"})
    assert (pro["after"], pro["moved"], pro["context_after"]["variant"]) == ({"on": 500}, [], "on")
    body = {"key": "thought", "definition": {**SWITCH, "targeting": {"fractional": []}}}
    refused(await admin.post(f"{FLAGS}/preview", json=body), 422, "flag-bad-definition")
    assert (await admin.get(f"{FLAGS}/exposures")).json()["items"] == [
        each for each in (await admin.get(f"{FLAGS}/exposures")).json()["items"] if each["key"] != "thought"
    ]


async def test_shared_rules(admin: httpx.AsyncClient) -> None:
    rule = {"ends_with": [{"var": "email"}, "@valhalla.test"]}
    made = await admin.post("/system/flag-rules", json={"key": "staff", "rule": rule})
    assert made.status_code == 201, made.text
    await make(admin, "for-staff", targeting={"if": [{"$ref": "staff"}, "on"]})
    assert (await ask(admin, "for-staff", email="a@valhalla.test"))["value"] is True
    rule = {"ends_with": [{"var": "email"}, "@other.test"]}
    assert (await admin.patch("/system/flag-rules/staff", json={"rule": rule})).status_code == 200
    assert (await ask(admin, "for-staff", email="a@valhalla.test"))["value"] is False
    refused(
        await admin.patch("/system/flag-rules/staff", json={"rule": {"!": {"$ref": "staff"}}}),
        422,
        "flag-bad-definition",
    )
    refused(await admin.delete("/system/flag-rules/staff"), 409, "flag-in-use")


async def test_the_kill_switch_holds_whatever_is_written(
    admin: httpx.AsyncClient, evaluator: httpx.AsyncClient
) -> None:
    await make(admin, "risky", defaultVariant="on", buckets="v2")
    before = (await admin.get(f"{FLAGS}/risky")).json()["version"]
    killed = await admin.post(f"{FLAGS}/risky/kill", json={"variant": "off", "reason": "errors"})
    assert killed.json()["killed"] is True
    assert await ask(evaluator, "risky") == {"key": "risky", "value": False, "variant": "off", "reason": "DISABLED"}
    again = await admin.put(f"{FLAGS}/risky", json={**SWITCH, "defaultVariant": "on", "owner": "web"})
    assert (again.json()["killed"], again.json()["buckets"]) == (True, "v2")
    refused(await admin.post(f"{FLAGS}/risky/rollback", json={"to_revision": before}), 409, "flag-killed")
    refused(await evaluator.delete(f"{FLAGS}/risky/kill"), 403, "forbidden")
    refused(await admin.post(f"{FLAGS}/risky/kill", json={"variant": "maybe"}), 422, "flag-bad-definition")
    refused(await admin.post(f"{FLAGS}/nothing/kill", json={}), 404, "flag-not-found")
    assert (await admin.delete(f"{FLAGS}/risky/kill")).json()["killed"] is False
    assert (await ask(evaluator, "risky"))["value"] is True
    history = (await admin.get(f"{FLAGS}/risky/history")).json()["items"]
    assert [each["reason"] for each in history if each["differences"].get("state") is None][1:3] == [None, "errors"]


async def test_a_rollback_to_what_would_not_do_any_more_changes_nothing(admin: httpx.AsyncClient) -> None:
    await make(admin, "back-base")
    await make(admin, "back-top", prerequisites=[{"flag": "back-base", "variants": ["on"]}])
    needs = (await admin.get(f"{FLAGS}/back-top")).json()["version"]
    assert (await admin.patch(f"{FLAGS}/back-top", json={"prerequisites": [], "owner": "web"})).status_code == 200
    assert (await admin.delete(f"{FLAGS}/back-base")).status_code == 204
    before = (await admin.get(f"{FLAGS}/back-top")).json()

    for dry_run in ("true", "false"):
        answer = await admin.post(
            f"{FLAGS}/back-top/rollback", json={"to_revision": needs}, params={"dry_run": dry_run}
        )
        problem = refused(answer, 422, "flag-bad-definition")
        assert problem["errors"][0]["pointer"] == "/prerequisites/0/flag"
    operations = [
        {"op": "put", "key": "back-new", "value": SWITCH},
        {"op": "put", "key": "back-top", "value": {**SWITCH, "defaultVariant": "maybe"}},
    ]
    refused(await admin.post(f"{FLAGS}/bulk", json={"operations": operations}), 422, "flag-bad-definition")

    assert (await admin.get(f"{FLAGS}/back-top")).json() == before
    refused(await admin.get(f"{FLAGS}/back-new"), 404, "flag-not-found")
    unknown = await admin.post(f"{FLAGS}/back-top/rollback", json={"to_revision": 10**9})
    assert unknown.status_code in (404, 409, 422)


async def test_ofrep_in_its_own_forms(admin: httpx.AsyncClient, evaluator: httpx.AsyncClient) -> None:
    await make(admin, "split", targeting={"fractional": [["on", 50], ["off", 50]]})
    await make(admin, "env", environments={"staging": {"defaultVariant": "on"}})
    missing = await evaluator.post(f"{OFREP}/split", content=b"")
    assert (missing.status_code, missing.json()["errorCode"]) == (400, "TARGETING_KEY_MISSING")
    assert missing.headers["content-type"] == "application/json"
    for body, code in ((b"{", "PARSE_ERROR"), (b"[]", "PARSE_ERROR"), (b'{"context": 1}', "INVALID_CONTEXT"),
                       (b'{"context": {"targetingKey": 1}}', "INVALID_CONTEXT")):  # fmt: skip
        for path in (f"{OFREP}/split", OFREP):
            answer = await evaluator.post(path, content=body)
            assert (answer.status_code, answer.json()["errorCode"]) == (400, code)
    # a key is any text, parameters of later versions are none of ours, and flagd's slash at the end is taken
    odd = await evaluator.post(f"{OFREP}/a%2Fb/{'c' * 600}", json={}, params={"later": "1"})
    assert (odd.status_code, odd.json()["errorCode"], odd.json()["key"][:5]) == (404, "FLAG_NOT_FOUND", "a/b/c")
    assert "split" in {each["key"] for each in (await evaluator.post(f"{OFREP}/", json={})).json()["flags"]}
    staging = await evaluator.post(f"{OFREP}/env", json={}, headers={"X-Environment": "staging"})
    assert staging.json()["value"] is True
    assert (await ask(evaluator, "env"))["value"] is False


async def test_bulk_tells_when_nothing_changed_for_this_context(
    admin: httpx.AsyncClient, evaluator: httpx.AsyncClient
) -> None:
    await make(admin, "in-bulk", targeting={"if": [{"var": "beta"}, "on", "off"]})

    async def bulk(tag: str | None = None, **context: Any) -> httpx.Response:
        headers = {} if tag is None else {"If-None-Match": tag}
        return await evaluator.post(OFREP, json={"context": context}, headers=headers)

    first = await bulk(beta=True)
    flags = {each["key"]: each for each in first.json()["flags"]}
    assert flags["in-bulk"]["value"] is True
    assert first.json()["eventStreams"][0]["endpoint"] == {"requestUri": "/ofrep/v1/stream"}
    tag = first.headers["etag"]
    same = await bulk(tag, beta=True)
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert (await bulk(tag, beta=False)).status_code == 200
    await admin.patch(f"{FLAGS}/in-bulk", json={"targeting": {"if": [{"var": "beta"}, "off", "on"]}})
    assert (await bulk(tag, beta=True)).status_code == 200


async def test_exposures_and_flags_nobody_needs(admin: httpx.AsyncClient, evaluator: httpx.AsyncClient) -> None:
    await make(admin, "seen", expires="2020-01-01T00:00:00Z", owner="web")
    await ask(evaluator, "seen")
    told = await evaluator.post(f"{FLAGS}/exposures", json={"counts": {"seen": {"on": 5, "x": 9}, "nobody": {"on": 1}}})
    assert told.json() == {"counted": 1}
    [seen] = [each for each in (await admin.get(f"{FLAGS}/exposures")).json()["items"] if each["key"] == "seen"]
    assert seen["variants"] == {"off": 1, "on": 5}
    [old] = [each for each in (await admin.get(f"{FLAGS}/stale")).json()["items"] if each["key"] == "seen"]
    assert (old["owner"], old["reasons"]) == ("web", ["it expired at 2020-01-01"])


async def test_a_snapshot_can_be_waited_for(admin: httpx.AsyncClient, evaluator: httpx.AsyncClient) -> None:
    now = (await evaluator.get(f"{FLAGS}/snapshot")).json()
    unchanged = await evaluator.get(f"{FLAGS}/snapshot", params={"watch": now["revision"], "wait": 0})
    assert unchanged.status_code == 304
    waiting = asyncio.create_task(evaluator.get(f"{FLAGS}/snapshot", params={"watch": now["revision"], "wait": 20}))
    await asyncio.sleep(0.05)
    await make(admin, "waited-for")
    after = (await waiting).json()
    assert after["revision"] != now["revision"]
    assert "waited-for" in {flag["key"] for flag in after["flags"]}


async def test_a_stream_tells_who_missed_a_change_at_once(plane: Plane, admin: httpx.AsyncClient) -> None:
    feature = plane.runtime.features.flags
    await make(admin, "streamed")
    events = feature.followers.stream("0.0", lambda: ("message", json.dumps({"type": "refetchEvaluation"}).encode()))
    assert await anext(events) == b"retry: 2000\n\n"
    seen = await anext(events)
    assert seen.startswith(f"id: {feature.followers.revision}\nevent: message\ndata: ".encode())
    following = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0.05)
    await admin.patch(f"{FLAGS}/streamed", json={"owner": "web"})
    assert (await asyncio.wait_for(following, 20)).startswith(b"id: ")
    await events.aclose()
