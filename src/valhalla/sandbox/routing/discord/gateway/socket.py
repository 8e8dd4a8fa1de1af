"""The WebSocket to the gateway: websockets' client, and nothing of what is sent is ever logged."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI, ProxyError

from valhalla.sandbox.routing.discord.gateway.asking import USER_AGENT

# GUILD_CREATE of a large guild has megabytes
_MAX_FRAME = 64 * 2**20
UNREACHABLE = (OSError, InvalidHandshake, InvalidURI, ProxyError, TimeoutError)
"""What ``open_socket`` raises when there is no connection."""


async def open_socket(url: str) -> ClientConnection:
    """Connect to a gateway, version 10, JSON without compression.

    Raises:
        UNREACHABLE: there is no connection.
    """
    parts = urlsplit(url)
    address = f"{parts.scheme}://{parts.netloc}{parts.path or '/'}?v=10&encoding=json"
    return await connect(
        address,
        # its debug log would hold the token
        logger=logging.Logger("websockets", logging.CRITICAL + 1),
        compression=None,
        user_agent_header=USER_AGENT,
        ping_interval=None,
        close_timeout=1.0,
        open_timeout=15.0,
        max_size=_MAX_FRAME,
        # so many frames wait unread at most; then the network does
        max_queue=(256, 64),
    )


def closed_with(error: ConnectionClosed) -> tuple[int | None, str]:
    """Return code and reason of whoever closed; without a code if it broke off."""
    received: Any = error.rcvd
    return (None, "") if received is None else (received.code, received.reason)
