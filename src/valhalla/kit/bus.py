"""The control plane's own JetStream: where its domain events go, in an account that no sandbox can reach."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, Final, cast

from nats import errors
from nats.aio.client import Client, RawCredentials
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext

from valhalla.kernel.problems import Unavailable
from valhalla.kit.outbox.nats import PREFIX

STREAM: Final = "VH_EVENTS"
_WEEK: Final = 7 * 86_400


class EventBus:
    """Connects when it is needed, and again when the connection is gone. ``timeout`` in seconds."""

    def __init__(self, url: str, creds: str, *, timeout: float = 5.0, tls: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._creds = creds
        self._timeout = timeout
        self._tls = tls
        self._client: Client | None = None
        self._lock = asyncio.Lock()

    async def jetstream(self) -> JetStreamContext:
        """Return a connected context whose stream exists.

        Raises:
            Unavailable: the server cannot be reached or refuses.
        """
        async with self._lock:
            if self._client is None or not self._client.is_connected:
                try:
                    async with asyncio.timeout(self._timeout):
                        self._client = await self._open()
                except (errors.Error, OSError, TimeoutError) as error:
                    raise Unavailable("nats", "the control plane's events cannot be delivered") from error
            return self._context(self._client)

    async def _open(self) -> Client:
        client = Client()
        await client.connect(
            self._url,
            user_credentials=RawCredentials(self._creds),
            name="valhalla-events",
            tls=cast("Any", self._tls),
            allow_reconnect=False,
            max_reconnect_attempts=1,
            error_cb=_quiet,
        )
        await cast("Any", self._context(client)).add_stream(
            StreamConfig(
                name=STREAM,
                subjects=[f"{PREFIX}>"],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                max_age=_WEEK,
                max_bytes=256 * 1024 * 1024,
                # repeated deliveries of the outbox fall within this
                duplicate_window=120,
            )
        )
        return client

    def _context(self, client: Client) -> JetStreamContext:
        return cast("Any", client).jetstream(timeout=self._timeout)

    async def close(self) -> None:
        """Close the connection within a second."""
        if self._client is not None:
            with contextlib.suppress(errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await self._client.close()


async def _quiet(_error: Exception) -> None:
    """Take the place of the client's callback, which prints; a failed call raises at its caller as well."""
