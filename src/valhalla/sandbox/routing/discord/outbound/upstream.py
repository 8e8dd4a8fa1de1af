"""Discord's REST interface as the lock asks it: with the real token, without redirects, with bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec
from pydantic import SecretStr
from yarl import URL

from valhalla.sandbox.routing.discord.gateway.asking import USER_AGENT
from valhalla.sandbox.routing.discord.gateway.errors import DiscordAway, TokenRefused
from valhalla.sandbox.routing.discord.outbound.answers import Reply

# the largest file that a bot may send, with room for the rest of its form
LARGEST: Final = 30 * 1_048_576
_PASSED: Final = frozenset({"content-type", "retry-after", "via", "x-audit-log-reason"})
_SECONDS: Final = 30.0


class NotSent(Exception):  # noqa: N818 - what is certain
    """No connection was made: Discord has not seen the request."""


class Unanswered(Exception):  # noqa: N818 - what happened
    """Discord may have done it; no answer came."""


class Upstream:
    """One client for all sandboxes. ``base`` ends with the version: ``https://discord.com/api/v10``."""

    def __init__(self, base: str, token: SecretStr) -> None:
        self._base = base.rstrip("/")
        self._token = token
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> dict[str, Any]:
        """Connect, and return the application that the token is of.

        Raises:
            TokenRefused, DiscordAway: Discord does not know the token, or does not answer.
        """
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_SECONDS, connect=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        try:
            reply = await self.send("GET", "/applications/@me")
        except (NotSent, Unanswered) as error:
            raise DiscordAway(f"{self._base}: {error.__cause__}") from error
        if reply.status == 401:
            raise TokenRefused("GET /applications/@me was answered with 401")
        found: Any = document(reply)
        if reply.status != 200 or not isinstance(found, dict) or "id" not in found:
            raise DiscordAway(f"GET /applications/@me was answered with {reply.status}")
        return found  # pyright: ignore[reportUnknownVariableType]

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        with_token: bool = True,
    ) -> Reply:
        """Send one request and return the whole answer.

        Raises:
            NotSent, Unanswered: there is none.
        """
        assert self._http is not None
        sent = {"User-Agent": USER_AGENT, **(headers or {})}
        if with_token:
            sent["Authorization"] = f"Bot {self._token.get_secret_value()}"
        url = URL(self._base + path + (f"?{query}" if query else ""), encoded=True)
        try:
            async with self._http.request(method, url, data=body, headers=sent, allow_redirects=False) as answer:
                content = await answer.content.read(LARGEST + 1)
                while len(content) <= LARGEST and (more := await answer.content.read(LARGEST + 1 - len(content))):
                    content += more
                if len(content) > LARGEST:
                    raise Unanswered("the answer is too large")
                kept = {
                    name.lower(): value
                    for name, value in answer.headers.items()
                    if name.lower() in _PASSED or name.lower().startswith("x-ratelimit-")
                }
                return Reply(answer.status, content, kept)
        except aiohttp.ClientConnectorError as error:
            raise NotSent(str(error)) from error
        except (aiohttp.InvalidURL, ValueError) as error:
            # headers are checked before anything is written
            raise NotSent(str(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unanswered(str(error) or type(error).__name__) from error


def document(reply: Reply) -> Any:
    """Return the JSON of a reply; None if it is none."""
    try:
        return msgspec.json.decode(reply.body)
    except msgspec.DecodeError:
        return None
