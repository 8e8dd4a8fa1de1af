"""Signing in with an issuer: a real one over HTTP, and everything that its answer may be instead of a good one."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey
from tests.conftest import Servers
from tests.server.console.oidc.person import ALICE, is_in, refusal, sign_in, there
from tests.server.console.visitor import browser, form_of
from tests.server.issuer import CLIENT, Issuer
from tests.server.plane import Plane
from tests.server.serving import serving

# a control plane of its own, since it trusts another issuer than nobody
pytestmark = pytest.mark.slow


async def test_a_person_signs_in_does_what_the_role_may_and_is_named_in_the_ledger(house: Plane) -> None:
    admin = house.client(await house.admin_key())
    await admin.put("/system/config/oidc.edited", json={"value": 1, "type": "integer"})
    async with browser(house) as client:
        assert "Sign in with your organisation" in (await client.get("/console/login")).text
        answer = await sign_in(client, "/console/flags?q=a")
        assert answer.status_code == 200, answer.text
        assert 'content="0;url=/console/flags?q=a"' in unescape(answer.text)
        cookies = answer.headers.get_list("set-cookie")
        assert any("samesite=strict" in one.lower() and "max-age=3600" in one.lower() for one in cookies)
        assert await is_in(client)
        assert (await client.get("/console/clients")).status_code == 200
        # an operator may not issue keys
        form = await form_of(client, "/console/")
        made = await client.post("/console/do/clients/new", data={"_form": form, "owner": "x", "role": "viewer"})
        assert made.status_code == 404
        page = (await client.get("/console/do/config/edit?key=oidc.edited")).text
        version = re.search(r'name="_version" value="(\d+)"', page)
        assert version is not None
        body = {"_form": form, "_version": version[1], "_definition": '{"value": 2, "type": "integer"}'}
        await client.post("/console/do/config/edit?key=oidc.edited", data=body)
    changes = (await admin.get("/system/config/oidc.edited/history")).json()["items"]
    assert (changes[0]["actor"], changes[0]["after"]["value"]) == ("person:alice@example.com", 2)
    person = (await admin.get("/system/people/person:alice@example.com")).json()
    assert (person["role"], person["groups"], person["subject"]) == ("operator", ["platform"], "u-1")
    entries = (await admin.get("/system/audit", params={"actor": "person:alice@example.com"})).json()["items"]
    assert {"signed-in", "put"} <= {entry["action"] for entry in entries}, entries


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "another"}, "aud"),
        ({"aud": [CLIENT, "another"], "azp": "another"}, "azp"),
        ({"exp": 1_000_000_000}, "exp"),
        ({"iss": "https://elsewhere.example"}, "iss"),
        ({"sub": None}, "sub"),
    ],
    ids=["wrong-nonce", "no-nonce", "wrong-aud", "wrong-azp", "expired", "wrong-iss", "nobody"],
)
async def test_a_token_that_says_something_else_lets_nobody_in(
    house: Plane, issuer: Issuer, spoil: dict[str, Any], said: str
) -> None:
    issuer.spoil = spoil
    async with browser(house) as client:
        answer = await sign_in(client)
        assert answer.status_code == 401
        assert "sign-in-refused" in answer.text
        assert said in answer.text
        assert not await is_in(client)


async def test_only_the_issuers_key_signs(house: Plane, issuer: Issuer) -> None:
    async with browser(house) as client:
        issuer.signing = RSAKey.generate_key(2048, {"kid": "one"})
        refusal(await sign_in(client), 401, "sign-in-refused")
        issuer.signing = RSAKey.generate_key(2048, {"kid": "unknown"})
        refusal(await sign_in(client), 401, "sign-in-refused")
        issuer.signing, issuer.algorithm = None, "none"
        refusal(await sign_in(client), 401, "sign-in-refused")
        assert not await is_in(client)


async def test_a_way_back_is_taken_once_and_in_the_browser_that_left(house: Plane) -> None:
    async with browser(house) as client, browser(house) as other:
        back = await there(client)
        refusal(await other.get(back), 401, "not begun in this browser")
        kept = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
        assert (await client.get(back)).status_code == 200
        refusal(await other.get(back, headers=kept), 401, "has come back before")
        state = parse_qs(urlsplit(back).query)["state"][0]
        forged = state[:-1] + ("A" if state[-1] != "A" else "B")
        refusal(await other.get("/console/oidc/callback", params={"state": forged, "code": "x"}), 401, "not begun here")
        refusal(await other.get("/console/oidc/callback"), 401, "not begun here")


async def test_what_the_issuer_refuses_is_said_on_a_page(house: Plane) -> None:
    async with browser(house) as client:
        state = parse_qs(urlsplit(await there(client)).query)["state"][0]
        said = {"state": state, "error": "<script>alert(1)</script>"}
        answer = await client.get("/console/oidc/callback", params=said)
        refusal(answer, 401, "the issuer let nobody in")
        assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    "wanted",
    ["https://elsewhere.example/", "//elsewhere.example/", "/console/..\\x", "/docs", "javascript:alert(1)"],
    ids=["site", "no-scheme", "backslash", "api", "script"],
)
async def test_nobody_is_led_elsewhere_afterwards(house: Plane, wanted: str) -> None:
    async with browser(house) as client:
        answer = await sign_in(client, wanted)
        assert 'content="0;url=/console/"' in answer.text


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"groups": ["everyone"]}, "no-access"),
        ({"groups": None}, "no-access"),
        ({"groups": ["*"]}, "no-access"),
        ({"email_verified": False}, "no-access"),
        ({"email": "mallory@elsewhere.example"}, "no-access"),
        ({"email": "a@evil.example@example.com"}, "no-access"),
        ({"sub": "u-2"}, "name-taken"),
    ],
    ids=["unknown-group", "no-groups", "star", "unverified", "other-domain", "two-ats", "other-account"],
)
async def test_who_has_no_role_here_is_told_so(house: Plane, issuer: Issuer, claims: dict[str, Any], code: str) -> None:
    async with browser(house) as client:
        assert (await sign_in(client)).status_code == 200
    async with browser(house) as client:
        issuer.claims = {**ALICE, **claims}
        refusal(await sign_in(client), 403, code)
        assert not await is_in(client)


async def test_a_role_that_is_gone_ends_sessions_at_once(house: Plane, issuer: Issuer) -> None:
    admin = house.client(await house.admin_key())
    path = "/system/people/person:bob@example.com"
    issuer.claims = {"sub": "u-3", "email": "bob@example.com", "email_verified": True}
    issuer.userinfo = {"sub": "u-3", "groups": ["guests"]}
    async with browser(house) as client, browser(house) as again:
        assert (await sign_in(client)).status_code == 200
        assert await is_in(client)
        # an operator puts an end to it
        assert (await admin.patch(path, json={"active": False})).status_code == 200
        assert not await is_in(client)
        refusal(await sign_in(again), 403, "person-inactive")
        assert (await admin.patch(path, json={"active": True})).status_code == 200
        assert await is_in(client)
        # the issuer has taken the group away, and says so at the next sign-in
        issuer.userinfo = {"sub": "u-3", "groups": []}
        refusal(await sign_in(again), 403, "no-access")
        assert not await is_in(client)
        # and speaks of one person only
        issuer.userinfo = {"sub": "u-4", "groups": ["chiefs"]}
        refusal(await sign_in(again), 401, "two people")


async def test_a_person_has_no_key_and_who_has_fewer_rights_no_hand_on_one(house: Plane, issuer: Issuer) -> None:
    issuer.claims = {**ALICE, "sub": "u-5", "email": "chief@example.com", "groups": ["chiefs"]}
    async with browser(house) as client:
        assert (await sign_in(client)).status_code == 200
    id_ = "person:chief@example.com"
    assert (await house.client(id_).get("/system/flags")).status_code == 401
    admin = house.client(await house.admin_key())
    body = {"owner": "keys-only", "scopes": ["keys:write"]}
    key = (await admin.post("/system/api-clients", json=body)).json()["key"]
    answer = await house.client(key).patch(f"/system/people/{id_}", json={"active": False})
    assert (answer.status_code, answer.json()["code"]) == (403, "beyond-own-rights")


async def test_an_issuer_that_does_not_answer_stops_nobody_with_a_key(plane: Plane, servers: Servers) -> None:
    async with browser(plane) as client:
        # without an issuer in the settings there is no such page
        assert re.search("no-such-page|not-signed-in|login", (await client.get("/console/oidc")).headers["location"])
        assert "organisation" not in (await client.get("/console/login")).text


async def test_a_real_browser_gets_through_although_another_site_sends_it(house: Plane, chromium: Any) -> None:
    async with serving(house.app) as address:
        # another name of the same machine is another site than the issuer's, so strict cookies stay at home
        base = f"http://localhost:{address.rpartition(':')[2]}"
        context = await chromium.new_context()
        try:
            page = await context.new_page()
            await page.goto(f"{base}/console/flags")
            await page.click("text=Sign in with your organisation")
            await page.wait_for_url("**/console/flags")
            assert await page.title() == "Flags · Valhalla"
        finally:
            await context.close()
