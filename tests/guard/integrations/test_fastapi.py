"""The dependency: what a client sees of each end of a guarded call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header
from tests.guard.integrations.shop import Shop

from valhalla.guard.integrations.fastapi import Caller, caller, holds_router, install
from valhalla.kernel.problems import Unauthenticated


def who(x_user: Annotated[str | None, Header()] = None) -> str:
    if x_user is None:
        raise Unauthenticated
    return x_user


def application(shop: Shop) -> FastAPI:
    app = FastAPI()
    install(app)
    app.include_router(holds_router(shop.guard, who))
    calls, strict = caller(shop.guard, who), caller(shop.guard, who, key_required=True)

    async def refunds(order: str, cents: int, call: Caller = Depends(calls)) -> str:  # noqa: B008 - FastAPI's form
        return await call(shop.refund, order, cents)

    async def gifts(to: str, cents: int, call: Caller = Depends(strict)) -> str:  # noqa: B008 - FastAPI's form
        return await call(shop.gift, to, cents=cents)

    def tips(to: str, cents: int, call: Caller = Depends(calls)) -> str:  # noqa: B008 - FastAPI's form
        return call.run(shop.tip, to, cents)

    for route in (refunds, gifts, tips):
        app.post(f"/{route.__name__}")(route)
    return app


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(shop))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop", headers={"X-User": "cy"}) as made:
        yield made


async def tip(client: httpx.AsyncClient, key: str | None = None, to: str = "di", user: str = "cy") -> httpx.Response:
    headers = {"X-User": user} | ({} if key is None else {"Idempotency-Key": key})
    return await client.post("/tips", params={"to": to, "cents": 1}, headers=headers)


async def test_a_held_call_is_accepted_and_its_location_tells_its_end(client: httpx.AsyncClient, shop: Shop) -> None:
    async def post() -> httpx.Response:
        return await client.post("/gifts", params={"to": "di", "cents": 9}, headers={"Idempotency-Key": "k"})

    held = await post()
    assert (held.status_code, held.headers["content-type"]) == (202, "application/json")
    assert held.json() | {"code": "guard-held", "id": shop.hold()} == held.json()
    place = held.headers["location"]
    assert place == f"/holds/{shop.hold()}"
    seen = (await client.get(place)).json()
    assert (seen["state"], seen["approvals"], seen["needed"]) == ("held", 0, 1)
    assert (await client.get(place, headers={"X-User": "eve"})).status_code == 404

    shop.guard.approve(shop.hold(), by="ana")
    for _ in range(2):
        done = await post()
        assert (done.status_code, done.json()) == (200, "receipt-1")
    assert (await client.get(place)).json()["state"] == "succeeded"
    assert len(shop.paid()) == 1


async def test_a_limit_is_told_in_headers(client: httpx.AsyncClient) -> None:
    first, _, third = [await tip(client) for _ in range(3)]
    assert first.headers["ratelimit-policy"] == third.headers["ratelimit-policy"] == '"per-minute";q=2;w=60'
    assert first.headers["ratelimit"].startswith('"per-minute";r=1;t=')
    assert third.status_code == 429
    assert third.headers["content-type"] == "application/problem+json"
    seconds = third.headers["retry-after"]
    assert third.headers["ratelimit"] == f'"per-minute";r=0;t={seconds}'
    assert third.json()["code"] == "quota-exceeded"
    assert 50 <= int(seconds) <= 60


async def test_a_key_names_one_effect_of_one_client(client: httpx.AsyncClient, shop: Shop) -> None:
    # the draft's quoted form and the usual bare one are one key
    assert [(await tip(client, key)).json() for key in ("k", '"k"')] == ["receipt-1"] * 2
    other = await tip(client, "k", user="eve")
    assert other.json() == "receipt-2"
    reused = await tip(client, "k", to="eve")
    assert (reused.status_code, reused.json()["code"]) == (422, "guard-key-reuse")
    assert len(shop.paid()) == 2


async def test_a_declared_key_is_not_replaced_by_the_clients(client: httpx.AsyncClient, shop: Shop) -> None:
    for key in ("k1", "k2"):
        await client.post("/refunds", params={"order": "B-1", "cents": 5}, headers={"Idempotency-Key": key})
    assert shop.paid() == [("B-1", 5)]


async def test_an_end_that_nobody_knows_is_a_conflict(client: httpx.AsyncClient, shop: Shop) -> None:
    shop.mood = "silent"
    with pytest.raises(TimeoutError):
        await tip(client, "k")
    again = await tip(client, "k")
    assert (again.status_code, again.json()["code"]) == (409, "guard-indeterminate")
    assert len(shop.paid()) == 1


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 400, "idempotency-key-missing"),
        ({"Idempotency-Key": "k" * 600}, 422, "guard-bad-key"),
        ({"Idempotency-Key": ""}, 422, "guard-bad-key"),
    ],
)
async def test_a_key_that_cannot_be_used_is_refused(
    client: httpx.AsyncClient, shop: Shop, headers: dict[str, Any], status: int, code: str
) -> None:
    answer = await client.post("/gifts", params={"to": "di", "cents": 9}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert shop.guard.waiting() == ()


async def test_nobody_gets_through_without_a_principal(client: httpx.AsyncClient, shop: Shop) -> None:
    del client.headers["X-User"]
    answer = await client.post("/tips", params={"to": "di", "cents": 1})
    assert answer.status_code == 401
    assert shop.paid() == []
