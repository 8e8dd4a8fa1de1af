"""A bouncer and an agent of the plane."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.server.blocklist import caller
from tests.server.conftest import Issue
from tests.server.plane import Plane

_octets = itertools.count(1)


@pytest.fixture
async def bouncer(plane: Plane, issue: Issue) -> AsyncIterator[httpx.AsyncClient]:
    """A bouncer of its own address, as each test's must be."""
    key = (await issue("bouncers", "bouncer"))["key"]
    transport = httpx.ASGITransport(plane.app, client=(f"198.18.0.{next(_octets)}", 1))
    headers = {"X-Api-Key": key, "User-Agent": "test-bouncer/v1.0"}
    async with httpx.AsyncClient(transport=transport, base_url="http://plane", headers=headers) as client:
        yield client


@pytest.fixture
async def agent(plane: Plane, issue: Issue) -> AsyncIterator[httpx.AsyncClient]:
    """An agent that has logged in."""
    key = (await issue("agents", "blocklist:write"))["key"]
    async with caller(plane, "198.18.1.1") as client:
        answer = await client.post("/v1/watchers/login", json={"machine_id": "web-1", "password": key, "scenarios": []})
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"code", "expire", "token"}
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        yield client
