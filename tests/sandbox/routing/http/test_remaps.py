"""Requests through the proxy while their claims change all the time."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from dataclasses import dataclass, field

import pytest
from tests.sandbox.routing.http.conftest import Proxied

pytestmark = pytest.mark.slow
_CHANGES = 200
_USERS = 8


@dataclass
class User:
    """``settled``: since when (a claim had returned) and until when (the next began) its requests were whose."""

    name: str
    owner: str | None = None
    since: float = 0.0
    settled: list[tuple[float, float, str | None]] = field(default_factory=list[tuple[float, float, str | None]])
    asked: list[tuple[float, float, str]] = field(default_factory=list[tuple[float, float, str]])


async def test_no_request_is_answered_by_who_does_not_own_it(proxied: Proxied) -> None:
    """Whatever begins when a claim has returned, and ends before the next change begins, is the claimer's."""
    scene = await proxied()
    claims = scene.bus.claims()
    users = [User(f"u{secrets.token_hex(5)}") for _ in range(_USERS)]
    for user in users:
        user.since = time.monotonic()
    over = asyncio.Event()
    chance = random.Random(7)

    async def change(user: User) -> None:
        key = f"x-user={user.name}"
        user.settled.append((user.since, time.monotonic(), user.owner))
        wanted = chance.choice([one for one in (scene.first.name, scene.second.name, None) if one != user.owner])
        if wanted is not None:
            await scene.bus.claim(claims, key, wanted, kind="header")
        else:
            assert user.owner is not None
            scene.bus.owners.pop(("header", key))
            owned = scene.bus.owned("header", key, user.owner)
            await claims.release("header", key, user.owner, unread="drain", owns=owned)
        user.owner, user.since = wanted, time.monotonic()

    async def ask(user: User) -> None:
        while not over.is_set():
            began = time.monotonic()
            status, text, _ = await scene.get(headers={"x-user": user.name})
            assert status == 200
            user.asked.append((began, time.monotonic(), text))
            await asyncio.sleep(chance.random() * 0.01)

    asking = [asyncio.create_task(ask(user)) for user in users]
    for _ in range(_CHANGES):
        await change(chance.choice(users))
        await asyncio.sleep(chance.random() * 0.05)
    over.set()
    await asyncio.gather(*asking)
    judged = 0
    for user in users:
        user.settled.append((user.since, time.monotonic(), user.owner))
        for since, until, owner in user.settled:
            found = {text for began, ended, text in user.asked if since <= began and ended <= until}
            assert found <= {owner or "production"}
            judged += len(found)
    assert judged > _CHANGES / 4
    await claims.close()
