"""Signing out where one signed in: by the console's button, and by the issuer's own word."""

from __future__ import annotations

from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey
from tests.server.console.oidc.person import is_in, sign_in
from tests.server.console.visitor import browser, form_of
from tests.server.console.visitor import sign_in as sign_in_by_key
from tests.server.issuer import CLIENT, Issuer
from tests.server.plane import Plane

pytestmark = pytest.mark.slow


async def out(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/console/logout", data={"_form": await form_of(client, "/console/")})


async def tell(house: Plane, token: str) -> httpx.Response:
    async with browser(house) as nobody:
        return await nobody.post("/console/oidc/backchannel", data={"logout_token": token})


async def test_who_signs_out_is_led_to_the_issuer(house: Plane, issuer: Issuer) -> None:
    async with browser(house) as client:
        await sign_in(client)
        answer = await out(client)
        assert answer.status_code == 200
        assert answer.headers["clear-site-data"] == '"cache"'
        where = urlsplit(unescape(answer.text.partition("0;url=")[2].partition('"')[0]))
        assert f"{where.scheme}://{where.netloc}{where.path}" == f"{issuer.url}/logout"
        assert parse_qs(where.query) == {
            "client_id": [CLIENT],
            "post_logout_redirect_uri": ["http://plane/console/login"],
        }
        assert not await is_in(client)


async def test_a_key_signs_out_here_alone(house: Plane) -> None:
    async with browser(house) as client:
        await sign_in_by_key(client, await house.admin_key())
        assert (await out(client)).headers["location"] == "/console/login"


async def test_the_issuer_ends_every_session_of_somebody_and_of_nobody_else(house: Plane, issuer: Issuer) -> None:
    async with browser(house) as first, browser(house) as second, browser(house) as other:
        await sign_in(first)
        await sign_in(second)
        await sign_in_by_key(other, await house.admin_key())
        token = issuer.logout_token(sub="u-1")
        answer = await tell(house, token)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert [await is_in(client) for client in (first, second, other)] == [False, False, True]
        # a token is taken once: who listened cannot end a session that was opened since
        await sign_in(first)
        assert (await tell(house, token)).status_code == 200
        assert await is_in(first)
        await tell(house, issuer.logout_token(sub="u-2"))
        assert await is_in(first)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another"},
        {"events": {}},
        {"events": None},
        {"nonce": "x"},
        {"iat": 1_000_000_000},
        {"iat": None},
        {"jti": None},
        {"sub": None, "sid": "s-1"},
    ],
    ids=["iss", "aud", "no-event", "no-events", "nonce", "old", "no-iat", "no-jti", "sid-alone"],
)
async def test_a_word_that_is_not_valid_ends_nothing(house: Plane, issuer: Issuer, claims: dict[str, Any]) -> None:
    async with browser(house) as client:
        await sign_in(client)
        answer = await tell(house, issuer.logout_token(**{"sub": "u-1", **claims}))
        assert (answer.status_code, answer.json()["code"]) == (401, "sign-in-refused")
        assert await is_in(client)


async def test_a_word_of_somebody_else_ends_nothing(house: Plane, issuer: Issuer) -> None:
    async with browser(house) as client:
        await sign_in(client)
        issuer.signing = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        for token in (issuer.logout_token(sub="u-1"), "x.y.z", "", "a" * 30_000):
            assert (await tell(house, token)).status_code == 401, token[:20]
        assert await is_in(client)
