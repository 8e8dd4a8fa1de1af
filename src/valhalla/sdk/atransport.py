"""The asynchronous transport: as the blocking one, on the running event loop."""

from __future__ import annotations

import asyncio
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

    async def close(self) -> None:
        """Close every connection now."""
        await self._client.aclose()
