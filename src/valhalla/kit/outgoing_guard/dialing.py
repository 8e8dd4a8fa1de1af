"""Connections of any protocol to addresses that were checked: the name is looked up here, and never again."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from valhalla.kit.outgoing_guard.errors import TargetRefused
from valhalla.kit.outgoing_guard.rules import Reach

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_TRIED: Final = 3


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name, as the system's resolver has them.

    Raises:
        OSError: it has none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def addresses(reach: Reach, host: str, port: int, resolve: Resolve = system_resolve) -> list[str]:
    """Return the few addresses of a host that may be connected to.

    Raises:
        TargetRefused: all of them are private, and no setting allows that.
        OSError: the name cannot be resolved.
    """
    found = await resolve(host.strip("[]"), port)
    if not found:
        raise OSError("the name has no address")
    allowed = [each for each in found if reach.allows(ipaddress.ip_address(each), host, port)]
    if not allowed:
        raise TargetRefused("the target's address is private and no setting allows it")
    return allowed[:_TRIED]


async def dial(reach: Reach, host: str, port: int, resolve: Resolve = system_resolve) -> socket.socket:
    """Return a connected socket for who speaks a protocol of its own.

    Raises:
        TargetRefused, OSError: as ``addresses``, or nobody answers there.
    """
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    for address in await addresses(reach, host, port, resolve):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, (address, port))
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    assert failure is not None
    raise failure
