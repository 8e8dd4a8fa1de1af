"""The asynchronous transport: as the blocking one, on the running event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from valhalla.kit import outgoing
from valhalla.sdk import connecting
from valhalla.sdk.errors import ApiProblem, Unreachable
from valhalla.sdk.wire import Request, interpret


class AsyncTransport:
    """Sends requests to one control plane."""

    def __init__(self, url: str, api_key: str | None, timeout: float) -> None:
        self.url = url
        self._client = httpx.AsyncClient(
            **connecting.options(url, api_key, timeout), event_hooks={"request": [outgoing.amark]}
        )

    async def exchange(self, request: Request[Any]) -> Any:
        """Send, and return the answer's document.

        Raises:
            ApiProblem: the control plane refused.
            Unreachable: it did not answer.
        """
        try:
            return await self._once(request)
        except (Unreachable, ApiProblem) as error:
            if (seconds := connecting.pause(request, error)) is None:
                raise
        await asyncio.sleep(seconds)
        return await self._once(request)

    async def _once(self, request: Request[Any]) -> Any:
        try:
            response = await self._client.request(**connecting.arguments(request))
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise connecting.failure(self.url, error) from error
        return interpret(request, response.status_code, response.content)

    @asynccontextmanager
    async def lines(
        self, path: str, query: dict[str, str], headers: dict[str, str], silence: float
    ) -> AsyncGenerator[AsyncIterator[str]]:
        """Open a stream of lines; ``silence`` seconds without one end it.

        Raises:
            ApiProblem: the control plane refused.
            Unreachable: it did not answer, or the connection broke.
        """
        usual = self._client.timeout
        timeout = httpx.Timeout(connect=usual.connect, read=silence, write=usual.write, pool=usual.pool)
        try:
            async with self._client.stream("GET", path, params=query, headers=headers, timeout=timeout) as response:
                if response.status_code != 200:
                    interpret(Request("GET", path, dict), response.status_code, await response.aread())
                yield response.aiter_lines()
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise connecting.failure(self.url, error) from error

    async def close(self) -> None:
        """Close every connection now."""
        await self._client.aclose()
