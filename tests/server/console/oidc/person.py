"""Somebody who signs in through the issuer."""

from __future__ import annotations

from typing import Any

import httpx

ALICE: dict[str, Any] = {
    "sub": "u-1",
    "email": "Alice@example.com",
    "email_verified": True,
    "groups": ["everyone", "platform"],
}


async def there(client: httpx.AsyncClient, wanted: str = "") -> str:
    """Go to the issuer; return the address at which it sends the browser back."""
    left = await client.get("/console/oidc", params={"next": wanted} if wanted else None)
    assert left.status_code == 303, left.text
    async with httpx.AsyncClient() as outside:
        answer = await outside.get(left.headers["location"])
    return answer.headers["location"]


async def sign_in(client: httpx.AsyncClient, wanted: str = "") -> httpx.Response:
    return await client.get(await there(client, wanted))


def refusal(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert code in answer.text
    assert "samesite=strict" not in answer.headers.get("set-cookie", "").lower()


async def is_in(client: httpx.AsyncClient) -> bool:
    return (await client.get("/console/flags")).status_code == 200
