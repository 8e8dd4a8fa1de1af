"""Who gets into the console, by a key or a link, and for how long."""

from __future__ import annotations

import re
from html import unescape

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.console.visitor import FORM, browser, form_of, sign_in
from tests.server.plane import Plane


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
