"""How an unmodified discord.py finds the fake, by documented parameters of it and of aiohttp alone."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver

from valhalla.testing.discord.certificate import HOSTS

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

    from valhalla.testing.discord.certificate import Certificate


class OnlyDiscord(AbstractResolver):
    """Resolves Discord's names to a port of this machine, and no other name: nothing leaves by accident."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the fake's address.

        Raises:
            OSError: it is not one of Discord's names.
        """
        del port, family
        if not any(host == name or host.endswith(f".{name}") for name in HOSTS):
            raise OSError(f"{host} is not Discord's: this connector leads nowhere else")
        here: dict[str, Any] = {"hostname": host, "host": "127.0.0.1", "port": self._port}
        return [{**here, "family": socket.AF_INET, "proto": 0, "flags": socket.AI_NUMERICHOST}]  # pyright: ignore[reportReturnType]

    async def close(self) -> None:
        """Nothing is kept."""


def connector(port: int, certificate: Certificate) -> aiohttp.TCPConnector:
    """Return the connector."""
    return aiohttp.TCPConnector(resolver=OnlyDiscord(port), ssl=certificate.client(), use_dns_cache=False, limit=0)
