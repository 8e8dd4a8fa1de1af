"""What the REST interface says about the gateway: where it is, how many shards, how many sessions today."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import httpx
from pydantic import SecretStr

from valhalla.kit.waiting import Backoff
from valhalla.sandbox.routing.discord.gateway.errors import DiscordAway, TokenRefused
from valhalla.version import VERSION

DISCORD: Final = "https://discord.com/api/v10"
USER_AGENT: Final = f"DiscordBot (https://valhalla.invalid, {VERSION})"
_TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class Advice:
    """The answer of ``/gateway/bot``; ``reset_after`` in seconds."""

    url: str
    shards: int
    remaining: int
    reset_after: float
    max_concurrency: int


async def ask(api: str, token: SecretStr) -> Advice:
    """Ask, patiently.

    Raises:
        TokenRefused: the token is not valid.
        DiscordAway: there is no answer, or none that can be read.
    """
    headers = {"Authorization": f"Bot {token.get_secret_value()}", "User-Agent": USER_AGENT}
    backoff, why = Backoff(0.5, 8.0), ""
    async with httpx.AsyncClient(headers=headers, timeout=10) as client:
        for attempt in range(_TRIES):
            pause = backoff.next()
            try:
                answer = await client.get(f"{api.rstrip('/')}/gateway/bot")
                if answer.status_code == 401:
                    raise TokenRefused("GET /gateway/bot was answered with 401")
                if answer.status_code == 200:
                    return _read(answer.json())
                why = f"GET /gateway/bot was answered with {answer.status_code}"
                pause = max(pause, min(float(answer.headers.get("retry-after", 0)), 60.0))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                why = f"{api}: {error or type(error).__name__}"
            except (ValueError, KeyError, TypeError) as error:
                why = f"the answer of GET /gateway/bot cannot be read: {error!r}"
            if attempt + 1 < _TRIES:
                await asyncio.sleep(pause)
    raise DiscordAway(why)


def _read(said: dict[str, Any]) -> Advice:
    limit = said["session_start_limit"]
    return Advice(
        url=str(said["url"]),
        shards=int(said["shards"]),
        remaining=int(limit["remaining"]),
        reset_after=int(limit["reset_after"]) / 1000,
        max_concurrency=int(limit["max_concurrency"]),
    )
