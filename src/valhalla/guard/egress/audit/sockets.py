"""Audit events of sockets and names."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from valhalla.guard.egress.endpoints import UNIX, is_address

if TYPE_CHECKING:
    from valhalla.guard.egress.seal import Seal

# the kernel's own interfaces on this machine: routes, interfaces, names of processes
_LOCAL: Final = frozenset(
    int(family) for name in ("AF_NETLINK", "AF_ALG") if (family := getattr(socket, name, None)) is not None
)


def endpoint(family: int, address: object) -> tuple[str, int | None] | None:
    """Return host and port of a socket's address, ``None`` for one that is on this machine by its nature."""
    if family in _LOCAL:
        return None
    if isinstance(address, (str, bytes)):
        path = os.fsdecode(address)
        # an abstract name starts with NUL
        return UNIX + (f"@{path[1:]}" if path.startswith("\0") else os.path.abspath(path)), None  # noqa: PTH100
    if isinstance(address, tuple) and family in (socket.AF_INET, socket.AF_INET6):
        host, port = cast("tuple[Any, ...]", address)[:2]
        return str(host), int(port)
    return f"family {family}: {address}", None


def _connect(seal: Seal, args: tuple[Any, ...]) -> None:
    if (where := endpoint(int(args[0].family), args[1])) is not None:
        seal.connection("connect", where)


def _sendto(seal: Seal, args: tuple[Any, ...]) -> None:
    # without an address it goes where the socket was connected to
    if args[1] is not None and (where := endpoint(int(args[0].family), args[1])) is not None:
        seal.connection("send a datagram to", where)


def _getaddrinfo(seal: Seal, args: tuple[Any, ...]) -> None:
    host = args[0]
    if not host:
        return
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    if not is_address(name) and name.lower() != "localhost":
        seal.lookup(name)


def _reverse(seal: Seal, args: tuple[Any, ...]) -> None:
    address: Any = args[0]
    host = str(cast("tuple[Any, ...]", address)[0] if isinstance(address, tuple) else address)
    if host != "localhost" and not host.startswith("127.") and host != "::1":
        seal.lookup(host)


CHECKS: Final[Mapping[str, Callable[[Seal, tuple[Any, ...]], None]]] = {
    "socket.connect": _connect,
    "socket.sendto": _sendto,
    "socket.sendmsg": _sendto,
    "socket.getaddrinfo": _getaddrinfo,
    "socket.gethostbyname": _getaddrinfo,
    "socket.gethostbyaddr": _reverse,
    "socket.getnameinfo": _reverse,
}
