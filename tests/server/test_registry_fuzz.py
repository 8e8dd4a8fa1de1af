"""No input makes a registry's routes fail: each of them, with an admin's key, for longer than the fast suite allows."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane
from tests.server.test_openapi import _fuzz


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_input_makes_a_500_of_a_registry(plane: Plane, issue: Issue) -> None:
    description: dict[str, Any] = (await plane.client().get("/openapi.json")).json()
    paths = description["paths"]
    mine = (
        "/system/rate-limits",
        "/system/api-clients",
        "/system/flag",
        "/system/config",
        "/ofrep",
        "/v1/kv",
        "/system/deployment",
    )
    description["paths"] = {path: item for path, item in paths.items() if path.startswith(mine)}
    assert len(description["paths"]) > 10
    key = (await issue("registry-fuzz", "admin"))["key"]

    statuses = await _fuzz(plane, description, key, examples=60)

    assert {200, 404, 422} <= statuses.keys()
