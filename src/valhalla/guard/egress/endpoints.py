"""Where a sealed block may go: ``host:port`` pairs, known by name and by the addresses that the names had at entry."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from valhalla.kernel.problems import Invalid

Known = tuple[str, int | None]

ANY: Final = "*"
UNIX: Final = "unix:"
_LOOPBACK: Final = ("127.0.0.1", "::1")
# connecting to the unspecified address reaches this machine
_UNSPECIFIED: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "localhost"}  # noqa: S104 - recognised, not bound
_HOSTS: Final = Path("/etc/hosts")
_PORTS: Final = {
    "postgresql": 5432,
    "postgres": 5432,
    "redis": 6379,
    "rediss": 6379,
    "valkey": 6379,
    "nats": 4222,
    "tls": 4222,
    "http": 80,
    "https": 443,
    "ws": 80,
    "wss": 443,
    "smtp": 25,
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host (name, address, ``*`` for any, or ``unix:/path``) and a port (``None`` for any)."""

    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith(UNIX) else self.host
        if self.host == ANY or self.host.startswith(UNIX):
            return self.host
        return f"{host}:{ANY if self.port is None else self.port}"


def parse(text: str) -> Endpoint:
    """Read ``host:port``, ``host:*``, ``[v6]:port``, ``unix:/path`` or a URL, whose credentials are ignored.

    Raises:
        Invalid: it is none, or has no port.
    """
    if text == ANY:
        return Endpoint(ANY, None)
    if text.startswith(UNIX):
        return Endpoint(UNIX + os.path.normpath(text.removeprefix(UNIX)), None)
    open_port = text.endswith(":*")
    try:
        parts = urlsplit(text if "://" in text else f"//{text.removesuffix(':*')}")
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    except ValueError:
        host = port = None
    if not host or (port is None and not open_port):
        # the text may be a URL with a password
        raise Invalid("an endpoint of a seal is written host:port, host:*, unix:/path or as a URL")
    return Endpoint(normal(host), port)


def normal(host: str) -> str:
    """Return one form for all the ways to write a host."""
    host = host.strip("[]").rstrip(".").lower()
    host = _UNSPECIFIED.get(host, host)
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)


def is_address(host: str) -> bool:
    """Say whether ``host`` is an IP address and needs no resolver."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def resolve(host: str) -> tuple[str, ...]:
    """Return the addresses of a name, none if nobody knows it."""
    if host == "localhost":
        return _LOOPBACK
    if host == ANY or host.startswith(UNIX) or is_address(host):
        return ()
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(normal(str(entry[4][0])) for entry in found))


def local_names() -> frozenset[str]:
    """Return the names that this machine's own file answers, so that nobody else is asked."""
    try:
        lines = _HOSTS.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(normal(name) for line in lines for name in line.partition("#")[0].split()[1:])


def covers(known: frozenset[Known], host: str, port: int | None) -> bool:
    """Say whether ``known`` has ``host`` at ``port``; a port of ``None`` in it is any, and so is the host ``*``."""
    if not known:
        return False
    host = host if host.startswith(UNIX) else normal(host)
    return (host, port) in known or (host, None) in known or (ANY, None) in known


class Endpoints:
    """A set of endpoints; a name stands also for the addresses it had when the set was made."""

    def __init__(self, texts: Iterable[str], resolver: Callable[[str], tuple[str, ...]] = resolve) -> None:
        """Resolve every name once.

        Raises:
            Invalid: a text is no endpoint.
        """
        self.listed = tuple(dict.fromkeys(map(parse, texts)))
        self.addresses = {endpoint.host: resolver(endpoint.host) for endpoint in self.listed}
        self._known = frozenset(
            (host, endpoint.port)
            for endpoint in self.listed
            for host in (endpoint.host, *self.addresses[endpoint.host])
        )
        self._hosts = {host for host, _ in self._known}

    def __bool__(self) -> bool:
        return bool(self.listed)

    def covers(self, host: str, port: int | None) -> bool:
        """Say whether ``host`` at ``port`` belongs to the set."""
        return covers(self._known, host, port)

    @property
    def known(self) -> frozenset[Known]:
        """Every host and port of the set; see ``covers``."""
        return self._known

    def names(self, host: str) -> bool:
        """Say whether some port of ``host`` belongs to the set, so that its name may be resolved."""
        return normal(host) in self._hosts or ANY in self._hosts

    @property
    def unix(self) -> bool:
        """Whether a Unix socket belongs to the set."""
        return any(host.startswith(UNIX) for host in self._hosts)
