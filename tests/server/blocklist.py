"""Rules of the blocklist, made over HTTP, and callers from addresses of their own."""

from __future__ import annotations

from typing import Any

import httpx
from tests.server.plane import Plane

PATH = "/system/security/blocklist"


def caller(plane: Plane, address: str, key: str | None = None, **headers: str) -> httpx.AsyncClient:
    """Return a client that calls from an address."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(plane.app, client=(address, 1)),
        base_url="http://plane",
        headers={**headers, **({} if key is None else {"Authorization": f"Bearer {key}"})},
    )


async def block(admin: httpx.AsyncClient, kind: str, value: str, **members: Any) -> dict[str, Any]:
    response = await admin.post(PATH, json={"type": kind, "value": value, **members})
    assert response.status_code in (200, 201), response.text
    return response.json()
