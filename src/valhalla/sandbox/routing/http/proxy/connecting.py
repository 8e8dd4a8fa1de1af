"""Connections to upstreams: production's anywhere, sandboxes' only to addresses that were allowed."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from valhalla.sandbox.routing.http.upstreams.rules import Allowed

_AUTOMATIC: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: until a connection stands, and between two pieces of an answer."""

    connect: float = 5.0
    answer: float = 60.0


class AddressRefusedError(OSError):
    """The address that a name has now is none that requests may be sent to."""


def session(patience: Patience, allowed: Allowed | None = None) -> aiohttp.ClientSession:
    """Return a client that adds nothing of its own: no header, no redirect, no decoding, no proxy, no cookie."""
    connector = aiohttp.TCPConnector(
        limit=0,
        # a name that moves is asked for again when the next connection is made
        ttl_dns_cache=10,
        socket_factory=None if allowed is None else _Sockets(allowed),
    )
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_AUTOMATIC,
        raise_for_status=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=patience.connect, sock_read=patience.answer),
    )


class _Sockets:
    """Makes the socket of each connection, after its address was looked up: whatever spelling led there."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed

    def __call__(self, info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self._allowed.allows(ipaddress.ip_address(address[0].partition("%")[0])):
            raise AddressRefusedError("this address is nobody's upstream")
        return socket.socket(family, kind, protocol)
