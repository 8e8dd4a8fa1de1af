"""The console through its application: who gets in, what forms need, and that what people wrote stays text."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane

from valhalla.server.console import PAGES

HOSTILE = "<script>alert(1)</script>{{7*7}}\"' onload=x \u202etxt.exe"
LONG = "<b>x</b>" * 1250
FORM = re.compile(r'name="_form" value="([^"]+)"')
Visitor = Callable[..., Awaitable[httpx.AsyncClient]]


@asynccontextmanager
async def browser(plane: Plane) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(plane.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://plane") as client:
        yield client


def tags_of(page: str) -> list[tuple[str, dict[str, str | None]]]:
    found: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append((tag, dict(attrs)))
    parser.feed(page)
    return found


async def form_of(client: httpx.AsyncClient, path: str) -> str:
    answer = await client.get(path)
    found = FORM.search(answer.text)
    assert found is not None, answer.text
    return unescape(found[1])


async def sign_in(client: httpx.AsyncClient, key: str) -> None:
    form = await form_of(client, "/console/login")
    answer = await client.post("/console/login", data={"_form": form, "key": key})
    assert answer.status_code == 303, answer.text


@pytest.fixture(scope="module")
async def chief(plane: Plane) -> AsyncGenerator[httpx.AsyncClient]:
    """An operator's browser."""
    async with browser(plane) as client:
        await sign_in(client, await plane.admin_key())
        yield client


async def test_a_browser_is_led_to_the_console_and_there_to_the_login(plane: Plane) -> None:
    async with browser(plane) as client:
        assert (await client.get("/", headers={"Accept": "text/html"})).headers["location"] == "console/"
        assert (await client.get("/")).headers["location"] == "docs"
        assert (await client.get("/console")).headers["location"] == "/console/"
        answer = await client.get("/console/flags?q=a")
        assert (answer.status_code, answer.headers["location"]) == (
            303,
            "/console/login?next=%2Fconsole%2Fflags%3Fq%3Da",
        )


async def test_a_wrong_key_signs_nobody_in(plane: Plane) -> None:
    async with browser(plane) as client:
        form = await form_of(client, "/console/login")
        answer = await client.post("/console/login", data={"_form": form, "key": "vh_local_" + "a" * 54})
        assert answer.status_code == 401
        assert "no valid API key" in answer.text
        assert (await client.get("/console/")).status_code == 303


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(plane: Plane) -> None:
    async with browser(plane) as client:
        form = await form_of(client, "/console/login")
        answer = await client.post("/console/login", data={"_form": form, "key": await plane.admin_key()})
        cookie = answer.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/console", "max-age=43200"))


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"}], ids=["no-token", "cross-site"])
async def test_a_form_from_elsewhere_changes_nothing(chief: httpx.AsyncClient, headers: dict[str, str]) -> None:
    body = {"owner": "forged", "_form": "x" * 43}
    if headers:
        body["_form"] = await form_of(chief, "/console/")
    answer = await chief.post("/console/do/clients/new", data=body, headers=headers)
    assert answer.status_code == 403
    assert "form-refused" in answer.text


async def test_where_to_go_after_the_login_is_one_of_our_own_pages(plane: Plane) -> None:
    async with browser(plane) as client:
        form = await form_of(client, "/console/login")
        for wanted in ("https://elsewhere.example/", "//elsewhere.example/", "/console/..\\x", "/docs"):
            body = {"_form": form, "key": await plane.admin_key(), "next": wanted}
            assert (await client.post("/console/login", data=body)).headers["location"] == "/console/", wanted


async def test_a_link_signs_in_once(plane: Plane, admin: httpx.AsyncClient) -> None:
    made = await admin.post("/console/session")
    assert made.status_code == 201
    path = made.json()["path"]
    async with browser(plane) as client:
        for status in (303, 401):
            page = await client.get(path)
            code = re.search(r'name="code" value="([^"]+)"', page.text)
            assert code is not None
            form = FORM.search(page.text)
            assert form is not None
            answer = await client.post("/console/link", data={"_form": unescape(form[1]), "code": unescape(code[1])})
            assert answer.status_code == status
            if status == 303:
                assert (await client.get("/console/")).status_code == 200
                client.cookies.clear()
                assert (await client.get("/console/")).status_code == 303


async def test_a_link_needs_a_key(plane: Plane) -> None:
    async with browser(plane) as client:
        assert (await client.post("/console/session")).status_code == 401


async def test_a_session_ends_with_its_key_and_when_one_signs_out(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue
) -> None:
    issued = await issue("console-revoked", role="viewer")
    async with browser(plane) as client:
        await sign_in(client, issued["key"])
        assert (await client.get("/console/flags")).status_code == 200
        kept = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
        await client.post("/console/logout", data={"_form": await form_of(client, "/console/")})
    async with browser(plane) as client:
        assert (await client.get("/console/flags", headers=kept)).status_code == 303
        await sign_in(client, issued["key"])
        assert (await client.get("/console/flags")).status_code == 200
        assert (await admin.delete(f"/system/api-clients/{issued['id']}")).status_code == 204
        assert (await client.get("/console/flags")).status_code == 303


async def test_a_rotated_key_takes_its_sessions_along(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    issued = await issue("console-rotated", role="viewer")
    async with browser(plane) as client:
        await sign_in(client, issued["key"])
        rotate = f"/system/api-clients/{issued['id']}/rotate"
        assert (await admin.post(rotate, json={"grace_seconds": 0})).status_code == 200
        assert (await client.get("/console/flags")).status_code == 303


async def test_everybody_sees_what_the_key_may_see(plane: Plane, issue: Issue) -> None:
    issued = await issue("console-viewer", role="viewer")
    async with browser(plane) as client:
        await sign_in(client, issued["key"])
        home = (await client.get("/console/")).text
        assert 'href="/console/flags"' in home
        assert 'href="/console/clients"' not in home
        assert (await client.get("/console/clients")).status_code == 403
        flags = (await client.get("/console/flags")).text
        assert "New flag" not in flags
        form = await form_of(client, "/console/")
        answer = await client.post("/console/do/flags/new", data={"_form": form, "_definition": "{}"})
        assert answer.status_code == 404


async def test_what_people_wrote_stays_text(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    body = {"value": HOSTILE + LONG, "type": "string", "description": HOSTILE}
    assert (await admin.put("/system/config/console.hostile", json=body)).status_code == 201
    await admin.post("/system/alerts", json={"name": "console-hostile", "severity": "info", "title": HOSTILE})
    try:
        for path in ("/console/config", "/console/config/console.hostile", "/console/alerts", "/console/audit"):
            answer = await chief.get(path)
            assert answer.status_code == 200, path
            assert "<script>alert" not in answer.text, path
            assert "<b>x</b>" not in answer.text, path
            assert "&lt;script&gt;" in answer.text or "audit" in path, path
            assert "{{7*7}}" in answer.text or "audit" in path, path
            assert len(answer.text) < 150_000, path
        history = await chief.get("/console/config/console.hostile?view=history")
        assert "&lt;script&gt;" in history.text
        searched = await chief.get("/console/config", params={"q": "<script>x</script>"})
        assert "<script>x" not in searched.text
    finally:
        await admin.delete("/system/config/console.hostile")


async def test_every_page_answers_by_the_rules(chief: httpx.AsyncClient, plane: Plane) -> None:
    weight = 0
    for path in ("", *(page.slug for page in PAGES)):
        answer = await chief.get(f"/console/{path}")
        assert answer.status_code == 200, (path, answer.text)
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy
        assert answer.headers["cache-control"] == "no-store"
        for tag, members in tags_of(answer.text):
            # nothing is loaded from elsewhere, nothing runs that is not a file of ours
            assert tag != "script" or (members.get("src") or "").startswith("/console/static/"), path
            assert tag != "style", path
            assert not {name for name in members if name == "style" or name.startswith("on")}, path
            for name in ("src", "href", "action", "hx-get"):
                assert not re.match(r"(?:https?:)?//|javascript:", members.get(name) or ""), path
        assert len(answer.content) < 150_000, path
        if not path:
            weight = len(answer.content)
            for file in re.findall(r'(?:src|href)="(/console/static/[^"]+)"', answer.text):
                sent = await chief.get(file, headers={"Accept-Encoding": "identity"})
                assert sent.status_code == 200
                assert "immutable" in sent.headers["cache-control"]
                weight += len(sent.content)
    assert weight <= 150_000


async def test_lists_are_there_as_csv_without_formulas(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    await admin.put("/system/config/console.sheet", json={"value": "=1+1", "type": "string"})
    try:
        sheet = await chief.get("/console/config.csv?q=console.sheet")
        assert sheet.headers["content-type"].startswith("text/csv")
        assert "console.sheet,'=1+1" in sheet.text
        assert (await chief.get("/console/config.exe")).status_code == 404
    finally:
        await admin.delete("/system/config/console.sheet")


async def test_a_record_is_edited_as_its_definition_and_rolled_back(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    path, do = "/system/config/console.edited", "/console/do/config"
    await admin.put(path, json={"value": 1, "type": "integer"})
    first: dict[str, Any] = (await admin.get("/system/config/console.edited/history")).json()["items"][0]
    try:
        page = (await chief.get(f"{do}/edit?key=console.edited")).text
        version = re.search(r'name="_version" value="(\d+)"', page)
        assert version is not None
        form = unescape(FORM.search(page)[1])  # type: ignore[index]
        body = {
            "_form": form,
            "_version": version[1],
            "_definition": '{"value": 2, "type": "integer"}',
            "reason": "two",
        }
        preview = await chief.post(f"{do}/edit?key=console.edited", data={**body, "_preview": "1"})
        assert "This would change" in preview.text
        assert (await admin.get(path)).json()["value"] == 1
        broken = await chief.post(f"{do}/edit?key=console.edited", data={**body, "_definition": "{"})
        assert broken.status_code == 422
        done = await chief.post(f"{do}/edit?key=console.edited", data=body)
        assert done.status_code == 303, done.text
        assert (await admin.get(path)).json()["value"] == 2
        # somebody else was faster
        again = await chief.post(f"{do}/edit?key=console.edited", data=body)
        assert again.status_code == 412
        back = {"_form": form, "to_revision": str(first["revision"])}
        assert (await chief.post(f"{do}/rollback?key=console.edited", data=back)).status_code == 303
        assert (await admin.get(path)).json()["value"] == 1
    finally:
        await admin.delete(path)


async def test_a_key_of_any_form_has_a_page(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    limit = {"rate": "9/second", "enabled": False}
    entry = {"value": 1, "type": "integer"}
    for slug, at, key, body in (
        ("limits", "/system/rate-limits", "console:a.b-c", limit),
        ("config", "/system/config", "console/deep/er", entry),
    ):
        path = f"{at}/{quote(key)}"
        assert (await admin.put(path, json=body)).status_code == 201, key
        try:
            listed = (await chief.get(f"/console/{slug}", params={"q": key})).text
            link = re.search(rf'href="(/console/{slug}/[^"?]+)"', listed)
            assert link is not None
            page = await chief.get(unescape(link[1]))
            assert page.status_code == 200
            assert key in unescape(page.text)
            form = await form_of(chief, "/console/")
            gone = await chief.post(f"/console/do/{slug}/delete", params={"key": key}, data={"_form": form})
            assert gone.status_code == 303
            assert (await admin.get(path)).status_code == 404
        finally:
            await admin.delete(path)


async def test_a_key_that_is_made_is_shown_once(chief: httpx.AsyncClient) -> None:
    form = await form_of(chief, "/console/do/clients/new")
    body = {"_form": form, "owner": "console-made", "role": "viewer", "scopes": "jobs:read, flags:read"}
    answer = await chief.post("/console/do/clients/new", data=body)
    assert answer.status_code == 200
    key = re.search(r"vh_[a-z]+_[0-9A-Za-z]+", answer.text)
    assert key is not None
    listed = await chief.get("/console/clients?owner=console-made")
    assert "console-made" in listed.text
    assert key[0] not in listed.text


async def test_the_mode_is_switched_from_here_and_back_while_writes_are_closed(
    plane: Plane, chief: httpx.AsyncClient
) -> None:
    form = await form_of(chief, "/console/do/maintenance/mode")
    switch = "/console/do/maintenance/mode"
    key = await plane.admin_key()
    try:
        answer = await chief.post(switch, data={"_form": form, "mode": "read_only", "reason": "console"})
        assert answer.status_code == 303
        assert "writes are closed" in (await chief.get("/console/")).text
        refused = await chief.post("/console/do/clients/new", data={"_form": form, "owner": "console-closed"})
        assert refused.status_code == 503
        assert "console" in refused.text
        async with browser(plane) as client:
            await sign_in(client, key)
            assert (await client.get("/console/")).status_code == 200
    finally:
        answer = await chief.post(switch, data={"_form": form, "mode": "normal", "reason": "well"})
        assert answer.status_code == 303


async def test_problems_are_pages(chief: httpx.AsyncClient) -> None:
    for path in ("/console/nothing", "/console/flags/nothing-of-this-name", "/console/a/b/c/d", "/console/part/none"):
        answer = await chief.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"].startswith("text/html"), path
        assert "content-security-policy" in answer.headers


async def test_what_is_filtered_is_shown_tried_and_then_done(
    chief: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    names = [f"console.many.{n}" for n in range(3)]
    for name in (*names, "console.other"):
        assert (await admin.put(f"/system/config/{name}", json={"value": 1, "type": "integer"})).status_code == 201
    try:
        where = "/console/all/config/set?q=console.many"
        page = (await chief.get(where)).text
        packed = re.search(r'name="_targets" value="([^"]+)"', page)
        assert packed is not None
        form = unescape(FORM.search(page)[1])  # type: ignore[index]
        body = {"_form": form, "_targets": unescape(packed[1]), "*": '{"value": 2}'}
        tried = await chief.post(where, data={**body, "_preview": "1"})
        assert "It would work for 3 of 3" in tried.text
        assert (await admin.get(f"/system/config/{names[0]}")).json()["value"] == 1
        # what changes meanwhile is left alone
        await admin.put(f"/system/config/{names[2]}", json={"value": 7, "type": "integer"})
        done = await chief.post(where, data=body)
        assert "Done for 2 of 3" in done.text
        values = [(await admin.get(f"/system/config/{name}")).json()["value"] for name in (*names, "console.other")]
        assert values == [2, 2, 7, 1]
        for broken in ({"*": "[1]"}, {"*": ""}, {"_targets": "{"}):
            assert (await chief.post(where, data={**body, **broken})).status_code == 422
        assert (await chief.get("/console/all/config/edit")).status_code == 404
    finally:
        for name in (*names, "console.other"):
            await admin.delete(f"/system/config/{name}")


async def test_what_was_deleted_is_brought_back(chief: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    await admin.put("/system/config/console.undone", json={"value": 5, "type": "integer"})
    try:
        form = await form_of(chief, "/console/")
        gone = await chief.post("/console/do/config/delete?key=console.undone", data={"_form": form})
        page = (await chief.get(gone.headers["location"])).text
        undo = re.search(r'href="([^"]+)" data-dialog>Undo', page)
        assert undo is not None
        shown = await chief.get(unescape(undo[1]))
        revision = re.search(r'name="to_revision" value="(\d+)"', shown.text)
        assert revision is not None
        back = await chief.post(unescape(undo[1]), data={"_form": form, "to_revision": revision[1]})
        assert back.status_code == 303, back.text
        assert (await admin.get("/system/config/console.undone")).json()["value"] == 5
    finally:
        await admin.delete("/system/config/console.undone")
