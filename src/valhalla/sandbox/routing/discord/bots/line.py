"""One connection to NATS for all lanes of a process, made anew when it is lost."""

from __future__ import annotations

import asyncio
import ssl

from valhalla.sandbox.routing.link import Link


class Line:
    """Opens a link when somebody needs one."""

    def __init__(self, url: str, creds: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._creds = creds
        self._tls = tls
        self._link: Link | None = None
        self._opening = asyncio.Lock()

    async def link(self) -> Link:
        """Return an open link.

        Raises:
            Unavailable: NATS cannot be reached.
        """
        async with self._opening:
            if self._link is None or not self._link.is_open:
                self._link = await Link.open(self._url, self._creds, name="valhalla discord-api lanes", tls=self._tls)
            return self._link

    async def close(self) -> None:
        """End it."""
        if self._link is not None:
            await self._link.close()
