"""The short way of create and destroy answers as the framework's route does."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from valhalla.sandbox import express
from valhalla.sandbox.wire import EXAMPLE, SandboxIn

BODY = {**EXAMPLE, "name": None, "routes": [], "description": "é", "metadata": {"n": 1.5, "deep": [{"a": None}]}}
# a parameter makes it another content type than the one that the short way takes
FRAMEWORK = {"Content-Type": "application/json; charset=utf-8"}


def test_it_knows_no_member_that_the_model_does_not_have() -> None:
    short = {field.name: field.default for field in msgspec.structs.fields(express._SandboxIn)}
    model = SandboxIn.model_fields
    assert set(short) <= set(model)
    for name in ("name", "owner", "template", "ttl", "description"):
        assert short[name] == model[name].default


async def both(client: httpx.AsyncClient, body: dict[str, Any]) -> list[httpx.Response]:
    content = msgspec.json.encode(body)
    return [
        await client.post("/api/sandboxes", content=content, headers={"Content-Type": "application/json", **more})
        for more in ({}, FRAMEWORK)
    ]


async def test_both_ways_make_the_same(team_a: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    real = express.described
    monkeypatch.setattr(express, "described", lambda sandbox: (taken.append(sandbox.id), real(sandbox))[1])
    short, framed = await both(team_a, BODY)
    assert (short.status_code, framed.status_code) == (201, 201), (short.text, framed.text)
    assert taken == [short.json()["id"]]
    one, other = short.json(), framed.json()
    assert list(one) == list(other)
    varying = {"id", "name", "created_at", "expires_at", "duration_ms", "connection", "schema", "database"}
    assert {k: v for k, v in one.items() if k not in varying} == {k: v for k, v in other.items() if k not in varying}
    assert {key: set(value) for key, value in one["connection"].items()} == {
        key: set(value) for key, value in other["connection"].items()
    }
    marked = ("content-type", "cache-control")
    assert {name: short.headers[name] for name in marked} == {name: framed.headers[name] for name in marked}
    # the very same sandbox, read by the framework, is written letter by letter as the short way wrote it
    found = (await team_a.get(f"/api/sandboxes/{short.json()['id']}")).json()
    assert found == {k: v for k, v in short.json().items() if k not in {"connection", "duration_ms"}}
    ended = await team_a.delete(f"/api/sandboxes/{short.json()['id']}")
    assert ended.status_code in {200, 202}
    assert list(ended.json()) == list(found)
    await team_a.delete(f"/api/sandboxes/{other['id']}", params={"wait": 5})


@pytest.mark.parametrize(
    "body",
    [
        {"unknown": 1},
        {"name": 5},
        {"name": "Not Legal"},
        {"name": "n" * 64},
        {"ttl": True},
        {"ttl": "1" * 70 + "h"},
        {"ttl": -1},
        {"tags": ["x"] * 21},
        {"tags": "x"},
        {"routes": [{"kind": "k" * 64, "key": "1"}]},
        {"routes": [{"kind": "discord.guild", "key": "nope"}]},
        {"description": "d" * 501},
        {"template": "no-such-template"},
        {"owner": "somebody-else"},
        {"metadata": {"a": "\x00"}},
    ],
)
async def test_both_ways_refuse_alike(team_a: httpx.AsyncClient, body: dict[str, Any]) -> None:
    short, framed = await both(team_a, body)
    assert short.status_code == framed.status_code >= 400
    one, other = short.json(), framed.json()
    assert {k: v for k, v in one.items() if k != "correlation_id"} == {
        k: v for k, v in other.items() if k != "correlation_id"
    }


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"metadata": {"a": NaN}}', b"\xff\xfe", b'{"ttl":1}x']
)
async def test_bodies_that_are_none(team_a: httpx.AsyncClient, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    short = await team_a.post("/api/sandboxes", content=content, headers=headers)
    framed = await team_a.post("/api/sandboxes", content=content, headers={**headers, **FRAMEWORK})
    assert short.status_code == framed.status_code >= 400
    assert short.json()["detail"] == framed.json()["detail"]


async def test_an_idempotency_key_is_taken_on_both_ways(team_a: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": "one-express"}
    first = await team_a.post("/api/sandboxes", content=b'{"ttl":"5m"}', headers=headers)
    again = await team_a.post("/api/sandboxes", content=b'{"ttl":"5m"}', headers=headers)
    framed = await team_a.post("/api/sandboxes", content=b'{"ttl":"5m"}', headers={**headers, **FRAMEWORK})
    assert [r.status_code for r in (first, again, framed)] == [201, 201, 201], framed.text
    assert first.json()["id"] == again.json()["id"] == framed.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == framed.headers["idempotent-replayed"] == "true"
    too_long = await team_a.post("/api/sandboxes", content=b"{}", headers={**headers, "Idempotency-Key": "k" * 256})
    assert too_long.status_code in {400, 422}
    await team_a.delete(f"/api/sandboxes/{first.json()['id']}", params={"wait": 5})
    reused = await team_a.post("/api/sandboxes", content=b'{"ttl":"6m"}', headers=headers)
    assert reused.json()["code"] == "idempotency-key-reuse"


async def test_who_may_not_write_may_not_here_either(plane: Any, issue: Any) -> None:
    reader = plane.client((await issue("http-r", "sandbox:read"))["key"])
    assert (await reader.post("/api/sandboxes", json={})).json()["code"] == "forbidden"
    assert (await reader.delete("/api/sandboxes/any")).json()["code"] == "forbidden"
    nobody = plane.client("vh_local_nonsense")
    assert (await nobody.delete("/api/sandboxes/any")).status_code == 401


async def test_a_body_past_the_limit(team_a: httpx.AsyncClient) -> None:
    async def chunks() -> Any:
        for _ in range(80):
            yield b" " * 65_536

    answer = await team_a.post("/api/sandboxes", content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
