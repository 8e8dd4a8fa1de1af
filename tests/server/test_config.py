"""Configuration over HTTP: typed, versioned, immutable where said so, in and out as documents, and followed."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

CONFIG = "/system/config"


async def make(admin: httpx.AsyncClient, key: str, value: Any, **members: Any) -> int:
    answer = await admin.post(CONFIG, json={"key": key, "value": value, **members})
    assert answer.status_code == 201, answer.text
    return answer.json()["version"]


@pytest.fixture
async def operator(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    """Who may write configuration, but is no admin."""
    return plane.client((await issue("config-writer", "config:write"))["key"])


async def test_an_entry_from_first_to_last(plane: Plane, operator: httpx.AsyncClient) -> None:
    schema = {"maximum": 1000}
    first = await make(operator, "life/timeout-ms", 250, type="integer", json_schema=schema, environments={"live": 500})
    one = f"{CONFIG}/life/timeout-ms"
    own = (await operator.get(f"{CONFIG}/values")).json()
    assert own["values"]["life/timeout-ms"] == 250
    live = (await operator.get(f"{CONFIG}/values", params={"environment": "live"})).json()
    assert (live["environment"], live["values"]["life/timeout-ms"]) == ("live", 500)
    bad = refused(await operator.patch(one, json={"value": 2000}), 422, "config-bad-entry")
    assert bad["errors"][0]["pointer"] == "/value"
    changed = await operator.patch(one, json={"value": 300}, headers={"If-Match": f'"{first}"'})
    assert changed.json()["value"] == 300
    refused(
        await operator.patch(one, json={"value": 1}, headers={"If-Match": f'"{first}"'}), 412, "precondition-failed"
    )
    diff = await operator.get(f"{CONFIG}/diff", params={"before": first, "after": changed.json()["version"]})
    assert diff.json()["items"][0]["differences"] == {"value": {"from": 250, "to": 300}}
    back = await operator.post(f"{one}/rollback", json={"to_revision": first})
    assert back.json()["items"][0]["after"]["value"] == 250
    assert (await operator.patch(one, json={"value": None, "type": "any"})).json()["value"] is None
    assert (await operator.delete(one)).status_code == 204


async def test_an_immutable_entry_stays_so_whatever_is_sent(
    admin: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    before = (await admin.get(f"{CONFIG}/diff", params={"before": 0})).status_code
    assert before == 200
    revision = await make(operator, "first-region", "eu", mutable=False)
    one = f"{CONFIG}/first-region"
    for sent in ({"value": "us", "mutable": False}, {"value": "eu"}, {"value": "eu", "mutable": True}, {}):
        refused(await operator.put(one, json=sent), 409, "config-immutable")
    refused(await operator.post(CONFIG, json={"key": "first-region"}), 409, "already-exists")
    refused(await operator.patch(one, json={"mutable": True}), 409, "config-immutable")
    refused(
        await operator.patch(one, json={"environments": {"live": "us"}}, params={"dry_run": "true"}),
        409,
        "config-immutable",
    )
    refused(await operator.delete(one), 409, "config-immutable")
    refused(await operator.post(f"{one}/rollback", json={"to_revision": revision - 1}), 409, "config-immutable")
    document = json.dumps({"first-region": {"value": "us"}})
    refused(await operator.post(f"{CONFIG}/import", content=document), 409, "config-immutable")
    assert (await operator.patch(one, json={"owner": "web"})).status_code == 200
    assert (await operator.get(one)).json()["value"] == "eu"
    assert (await admin.delete(one)).status_code == 204


async def test_a_value_that_breaks_the_schema_changes_nothing_wherever_it_stands(operator: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"port": {"maximum": 65_535}}}
    first = await make(operator, "schema/one", {"port": 80}, json_schema=schema)
    one = f"{CONFIG}/schema/one"

    def pointer(answer: httpx.Response) -> str:
        return refused(answer, 422, "config-bad-entry")["errors"][0]["pointer"]

    assert pointer(await operator.patch(one, json={"value": {"port": 65_536}})) == "/value/port"
    assert pointer(await operator.patch(one, json={"environments": {"live": "x"}})) == "/environments/live"
    assert pointer(await operator.patch(one, json={"json_schema": {"type": "nothing"}})) == "/json_schema"
    assert pointer(await operator.patch(one, json={"json_schema": {"type": "string"}})) == "/value"
    bad = json.dumps({"schema/two": {"value": 1}, "schema/one": {"value": {"port": -1}, "type": "text"}})
    refused(await operator.post(f"{CONFIG}/import", content=bad), 422, "invalid-request")
    bad = json.dumps({"schema/two": {"value": 1}, "schema/one": {"value": 7, "json_schema": schema}})
    assert pointer(await operator.post(f"{CONFIG}/import", content=bad)) == "/value"

    shown = (await operator.get(one)).json()
    assert (shown["value"], shown["version"]) == ({"port": 80}, first)
    assert (await operator.get(f"{CONFIG}/schema/two")).status_code == 404


async def test_secrets_are_refused_and_not_kept(operator: httpx.AsyncClient) -> None:
    secret = {"key": "db", "value": {"password": "hunter2"}}
    problem = refused(await operator.post(CONFIG, json=secret), 422, "config-looks-secret")
    assert problem["errors"] == [{"in": "body", "pointer": "/value/password", "detail": "its name says so"}]
    assert "hunter2" not in str(problem)
    assert (await operator.post(CONFIG, json={**secret, "not_a_secret": "of the manual"})).status_code == 201
    await operator.delete(f"{CONFIG}/db")


@pytest.mark.parametrize("form", ["json", "toml", "yaml"])
async def test_documents_in_and_out(operator: httpx.AsyncClient, form: str) -> None:
    await make(operator, f"doc/{form}", {"a": [1, 2.5, "x"]}, description="kept")
    exported = await operator.get(f"{CONFIG}/export", params={"form": form})
    assert exported.headers["content-type"].startswith(f"application/{form}")
    await operator.patch(f"{CONFIG}/doc/{form}", json={"value": 1, "description": None})
    dry = await operator.post(f"{CONFIG}/import", content=exported.content, params={"form": form, "dry_run": "true"})
    assert [each["key"] for each in dry.json()["items"] if each["changed"]] == [f"doc/{form}"]
    done = await operator.post(f"{CONFIG}/import", content=exported.content, params={"form": form})
    assert done.json()["revision"] is not None
    now = (await operator.get(f"{CONFIG}/doc/{form}")).json()
    assert (now["value"], now["description"]) == ({"a": [1, 2.5, "x"]}, "kept")
    refused(await operator.post(f"{CONFIG}/import", content=b"a: [", params={"form": form}), 422, "config-bad-document")
    await operator.delete(f"{CONFIG}/doc/{form}")


async def test_it_can_be_watched(operator: httpx.AsyncClient) -> None:
    revision = (await operator.get(CONFIG)).headers["x-revision"]
    assert (await operator.get(CONFIG, params={"watch": revision, "wait": 0})).status_code == 304
    waiting = asyncio.create_task(operator.get(CONFIG, params={"watch": revision, "wait": 20, "q": "watched"}))
    await asyncio.sleep(0.05)
    await make(operator, "watched", 1)
    answer = await waiting
    assert int(answer.headers["x-revision"]) > int(revision)
    assert [each["key"] for each in answer.json()["items"]] == ["watched"]


async def test_a_follower_is_told_the_difference_alone(operator: httpx.AsyncClient) -> None:
    await make(operator, "delta/kept", 1)
    await make(operator, "delta/gone", 1)
    first = (await operator.get(f"{CONFIG}/values")).json()
    await operator.patch(f"{CONFIG}/delta/kept", json={"environments": {"live": 5}})
    await operator.delete(f"{CONFIG}/delta/gone")
    await make(operator, "delta/new", None)

    query = {"watch": first["revision"], "wait": 0, "environment": "live"}
    told = (await operator.get(f"{CONFIG}/values", params={**query, "delta": True})).json()
    again = (await operator.get(f"{CONFIG}/values", params={**query, "delta": True})).json()
    whole = (await operator.get(f"{CONFIG}/values", params=query)).json()
    unknown = (await operator.get(f"{CONFIG}/values", params={**query, "watch": "1", "delta": True})).json()

    assert (told["changed"], told["removed"]) == ({"delta/kept": 5, "delta/new": None}, ["delta/gone"])
    assert told == again
    assert whole == unknown
    held = {**first["values"], **told["changed"]}
    del held["delta/gone"]
    assert {key: held[key] for key in held if key.startswith("delta/")} == {
        key: value for key, value in whole["values"].items() if key.startswith("delta/")
    }


async def test_consuls_clients_read_and_wait(operator: httpx.AsyncClient) -> None:
    await make(operator, "kv/one", "eins")
    found = await operator.get("/v1/kv/kv/one")
    assert base64.b64decode(found.json()[0]["Value"]) == b"eins"
    index = found.headers["x-consul-index"]
    assert (await operator.get("/v1/kv/kv/one?raw")).content == b"eins"
    assert (await operator.get("/v1/kv/kv/?keys")).json() == ["kv/one"]
    gone = await operator.get("/v1/kv/kv/none")
    assert (gone.status_code, gone.content) == (404, b"")
    started = time.monotonic()
    same = await operator.get("/v1/kv/kv/one", params={"index": index, "wait": "100ms"})
    assert (same.headers["x-consul-index"], time.monotonic() - started >= 0.1) == (index, True)
    waiting = asyncio.create_task(operator.get("/v1/kv/kv/one", params={"index": index, "wait": "20s"}))
    await asyncio.sleep(0.05)
    # another key's change must not answer it
    await make(operator, "kv/two", "zwei")
    assert not waiting.done()
    await operator.patch(f"{CONFIG}/kv/one", json={"value": "uno"})
    assert base64.b64decode((await waiting).json()[0]["Value"]) == b"uno"
    refused(await operator.get("/v1/kv/kv/one?index=x"), 422, "invalid-request")
