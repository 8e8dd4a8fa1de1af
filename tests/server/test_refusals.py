"""What bad input gets: one clear problem that names the member, repeats nothing, and leaves nothing behind."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.server.conftest import Make
from tests.server.plane import Plane, refused

from valhalla.kit import paging

MARK = "s3cr3t-of-the-sender"
JSON = {"Content-Type": "application/json"}
HOSTILE = [
    "$(touch x)",
    "a'b\"c`d",
    "a\nb",
    "a\r\nX-Injected: 1",
    "a\x00b",
    "",
    " ",
    "../../etc/passwd",
    "ž",
    "x" * 10_000,
]
SANDBOX = "/api/sandboxes"


def body(**members: Any) -> bytes:
    return json.dumps({"template": "empty", **members}).encode()


RAW = {
    "no JSON": b"nope " + MARK.encode(),
    "half of it": b'{"name": "' + MARK.encode(),
    "nothing": b"",
    "null": b"null",
    "a list": b'[{"name": "x"}]',
    "a text": b'"x"',
    "NaN": b'{"ttl": NaN}',
    "Infinity": b'{"ttl": -Infinity}',
    "NaN in metadata": b'{"metadata": {"a": NaN}}',
    "beyond a double": b'{"metadata": {"a": 1e999}}',
    "5,000 digits": b'{"ttl": ' + b"9" * 5000 + b"}",
    "invalid UTF-8": b'{"description": "\xff\xfe"}',
    "UTF-16": '{"description": "x"}'.encode("utf-16"),
    "half a surrogate pair": b'{"description": "\\ud800"}',
    "deep arrays": b"[" * 50_000,
    "deep objects": b'{"metadata":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
    "two documents": b"{}{}",
}
MEMBERS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"nmae": MARK}, "/nmae"),
    "unknown and odd": ({f"{MARK} \n": 1}, "/…"),
    "unknown inside": ({"routes": [{"kind": "a", "key": "b", "more": MARK}]}, "/routes/0/more"),
    "name no text": ({"name": 7}, "/name"),
    "name too long": ({"name": "x" * 64}, "/name"),
    "upper case": ({"name": "Bad"}, "/name"),
    "owner a list": ({"owner": [MARK]}, "/owner"),
    "template an object": ({"template": {}}, "/template"),
    "template no name": ({"template": "../community"}, "/template"),
    "description": ({"description": "x" * 501}, "/description"),
    "tags a text": ({"tags": MARK}, "/tags"),
    "too many tags": ({"tags": ["t"] * 21}, "/tags"),
    "a tag a number": ({"tags": [1]}, "/tags/0"),
    "metadata a list": ({"metadata": [MARK]}, "/metadata"),
    "metadata too large": ({"metadata": {"a": "x" * 17_000}}, "/metadata"),
    "metadata with NUL": ({"metadata": {"a\x00": 1}}, "/metadata"),
    "too many routes": ({"routes": [{"kind": "a.b", "key": str(n)} for n in range(51)]}, "/routes"),
    "no snowflake": ({"routes": [{"kind": "discord.guild", "key": "12"}]}, "/routes/0/key"),
    "a snowflake too large": ({"routes": [{"kind": "discord.guild", "key": "9" * 19}]}, "/routes/0/key"),
    "route kind": ({"routes": [{"kind": "A B", "key": "x"}]}, "/routes/0/kind"),
}
TTLS: list[Any] = [
    *(0, -1, 1e9, 1e9 + 1, 10**30, 0.0, True, False, [], {}, "", "0h", "-1h", "NaN", "Infinity", "1e3", "90", "169h"),
    *("1h\n", "1" * 70, "$(touch x)", "999999999d", "٣h"),
]


@pytest.mark.parametrize("content", RAW.values(), ids=RAW)
async def test_what_is_no_json_object(plane: Plane, team_a: httpx.AsyncClient, content: bytes) -> None:
    before = await plane.rows()

    response = await team_a.post(SANDBOX, content=content, headers=JSON)

    refused(response, 422, "invalid-request")
    assert MARK not in response.text
    assert await plane.rows() == before


@pytest.mark.parametrize(("members", "pointer"), MEMBERS.values(), ids=MEMBERS)
async def test_the_wrong_member_is_named(
    plane: Plane, team_a: httpx.AsyncClient, members: dict[str, Any], pointer: str
) -> None:
    before = await plane.rows()

    response = await team_a.post(SANDBOX, content=body(**members), headers=JSON)

    problem = refused(response, 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == pointer
    assert MARK not in response.text
    assert await plane.rows() == before


@pytest.mark.parametrize("ttl", TTLS, ids=lambda ttl: repr(ttl)[:20])
async def test_a_ttl_that_is_none(plane: Plane, team_a: httpx.AsyncClient, make: Make, ttl: Any) -> None:
    before = await plane.rows()

    problem = refused(await team_a.post(SANDBOX, content=body(ttl=ttl), headers=JSON), 422, "invalid-request")

    assert [error["pointer"] for error in problem["errors"]] == ["/ttl"]
    assert await plane.rows() == before


async def test_an_extension_that_is_none(team_a: httpx.AsyncClient, make: Make) -> None:
    made = await make()
    for ttl in [0, -1, "", "NaN", True, None, [], 10**30]:
        content = json.dumps({"ttl": ttl}).encode()
        refused(
            await team_a.post(f"{SANDBOX}/{made['id']}/extend", content=content, headers=JSON), 422, "invalid-request"
        )
    assert (await team_a.get(f"{SANDBOX}/{made['id']}")).json()["expires_at"] == made["expires_at"]


@pytest.mark.parametrize("member", ["name", "owner", "template", "ttl", "tag", "kind", "key"])
async def test_hostile_texts(plane: Plane, admin: httpx.AsyncClient, member: str) -> None:
    before = await plane.rows()
    shapes: dict[str, Any] = {
        "tag": lambda text: {"tags": [text]},
        "kind": lambda text: {"routes": [{"kind": text, "key": "x"}]},
        "key": lambda text: {"routes": [{"kind": "a.b", "key": text}]},
    }
    for text in HOSTILE:
        members = shapes.get(member, lambda text: {member: text})(text)
        refused(await admin.post(SANDBOX, content=body(**members), headers=JSON), 422, "invalid-request")
    assert await plane.rows() == before


async def test_a_description_and_metadata_come_back_as_they_were(make: Make, team_a: httpx.AsyncClient) -> None:
    description = "$(touch x) 'quoted' \"twice\" `tick`\nnext line\t😀"
    metadata = {"$(touch x)": ["'", '"', "\n", None, True, 1.5, 2**53, {"": {}}], "ž": "😀", "u": "\\u0000"}

    made = await make(description=description, metadata=metadata)

    assert (made["description"], made["metadata"]) == (description, metadata)
    found = (await team_a.get(f"{SANDBOX}/{made['id']}")).json()
    assert (found["description"], found["metadata"]) == (description, metadata)


async def test_names_owners_routes_and_limits_that_are_taken(
    plane: Plane, team_a: httpx.AsyncClient, team_b: httpx.AsyncClient, make: Make
) -> None:
    route = {"kind": "a.b", "key": "taken"}
    await make(name="http-taken", routes=[route])
    before = await plane.rows()

    refused(await team_b.post(SANDBOX, json={"name": "http-taken"}), 409, "sandbox-name-taken")
    refused(await team_b.post(SANDBOX, json={"routes": [route]}), 409, "route-taken")
    refused(await team_b.post(SANDBOX, json={"owner": "http-a"}), 403, "forbidden")
    problem = refused(await team_b.post(SANDBOX, json={"template": "nothing"}), 422, "template-unknown")
    assert "community" in problem["known"]
    assert await plane.rows() == before
    for _ in range(5):
        await make()
    limit = refused(await team_a.post(SANDBOX, json={}), 409, "sandbox-owner-limit")
    assert (limit["live"], limit["limit"]) == (6, 6)


@pytest.mark.parametrize("header", ["", "x" * 256])
async def test_an_idempotency_key_has_a_length(plane: Plane, team_a: httpx.AsyncClient, header: str) -> None:
    before = await plane.rows()

    response = await team_a.post(SANDBOX, json={}, headers={"Idempotency-Key": header})

    assert refused(response, 422, "invalid-request")["errors"][0]["pointer"] == "/idempotency-key"
    assert await plane.rows() == before


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "limit=1e9", "status=nothing", "cursor=nonsense", "cursor=W10", "cursor=e30",
     "cursor=%20", "tag=" + "x" * 64, "include_destroyed=perhaps", "tag=a%00b", "owner=%00"],
)  # fmt: skip
async def test_a_query_that_is_none(team_a: httpx.AsyncClient, query: str) -> None:
    refused(await team_a.get(f"{SANDBOX}?{query}"), 422, "invalid-request")


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "x"])
async def test_a_wait_that_is_none(team_a: httpx.AsyncClient, make: Make, wait: str) -> None:
    made = await make()

    refused(await team_a.delete(f"{SANDBOX}/{made['id']}?wait={wait}"), 422, "invalid-request")

    assert (await team_a.get(f"{SANDBOX}/{made['id']}")).json()["status"] == "running"


@pytest.mark.parametrize("reference", ["nobody", "$(touch x)", "a'b", "a%0Ab", "%F0%9F%98%80", "%FF", "x" * 64])
async def test_a_reference_to_nothing(team_a: httpx.AsyncClient, reference: str) -> None:
    for path in ("", "/status", "/connection", "/tables", "/audit"):
        refused(await team_a.get(f"{SANDBOX}/{reference}{path}"), 404, "sandbox-not-found")
    refused(await team_a.delete(f"{SANDBOX}/{reference}"), 404, "sandbox-not-found")
    refused(await team_a.post(f"{SANDBOX}/{reference}/extend", json={"ttl": "1h"}), 404, "sandbox-not-found")


@pytest.mark.parametrize("reference", ["a%00b", "%00", "x" * 65])
async def test_a_reference_that_cannot_be(team_a: httpx.AsyncClient, reference: str) -> None:
    refused(await team_a.get(f"{SANDBOX}/{reference}"), 422, "invalid-request")
    refused(await team_a.delete(f"{SANDBOX}/{reference}"), 422, "invalid-request")


async def test_what_is_not_sent_as_json(plane: Plane, team_a: httpx.AsyncClient) -> None:
    before = await plane.rows()
    for headers in ({"Content-Type": "text/plain"}, {}):
        problem = refused(await team_a.post(SANDBOX, content=body(), headers=headers), 422, "invalid-request")
        assert "application/json" in problem["detail"]
    assert await plane.rows() == before


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_forged_cursor_outside_of_time(team_a: httpx.AsyncClient, at: str) -> None:
    cursor = paging.encode({"at": at, "id": "x"})

    refused(await team_a.get(SANDBOX, params={"cursor": cursor}), 422, "invalid-request")
