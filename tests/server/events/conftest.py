"""The plane of the session at an address of its own: live events need real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.server.plane import Plane
from tests.server.serving import serving


@pytest.fixture(scope="module")
async def address(plane: Plane) -> AsyncIterator[str]:
    async with serving(plane.app) as where:
        yield where
