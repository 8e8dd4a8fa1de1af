"""Which addresses and URLs a request may go to: pure, decided on values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import unquote

from valhalla.kit.outgoing_guard.errors import TargetRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# so narrow that no two parsers can read one URL differently: no userinfo, no backslash, no fragment, no capitals
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
_PRIVATE: Final = re.compile(
    r"(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
    r"=(?P<network>[0-9a-f:./]{2,50})"
)
_LINK_LOCAL: Final = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))
_PORTS: Final = {"http": 80, "https": 443}
_NAT64: Final = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Base:
    """A URL without query: what lies under it may be asked. ``path`` has no slash at its end."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Base:
        """Read ``https://host:port/prefix``.

        Raises:
            ValueError: it has another form; the text is not repeated.
        """
        return _split(text, query=False)

    def covers(self, url: str) -> bool:
        """Say whether ``url`` is this base or lies under it."""
        try:
            other = _split(url, query=True)
        except ValueError:
            return False
        same = (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
        return same and (other.path == self.path or other.path.startswith(self.path + "/"))


@dataclass(frozen=True, slots=True)
class PrivateHost:
    """A host that may have private addresses, as far as they lie in ``network``; ``port`` None is every port.

    Not by its name alone: who answers for the name could move it to any neighbour of ours.
    """

    name: str
    port: int | None
    network: Network

    @classmethod
    def parse(cls, text: str) -> PrivateHost:
        """Read ``hooks.internal:8443=10.1.0.0/16``.

        Raises:
            ValueError: it has another form, or the network has addresses that no host of anybody has.
        """
        found = _PRIVATE.fullmatch(text)
        if found is None:
            raise ValueError("write it as host=network or host:port=network, such as hooks.internal:8443=10.1.0.0/16")
        port = None if found["port"] is None else int(found["port"])
        if port is not None and not 0 < port < 65_536:
            raise ValueError("a port is 1 to 65535")
        try:
            network = ipaddress.ip_network(found["network"], strict=False)
        except ValueError:
            raise ValueError("after '=' comes an address or a network such as 10.1.0.0/16") from None
        # there clouds hand out the credentials of machines
        if any(network.version == local.version and network.overlaps(local) for local in _LINK_LOCAL):
            raise ValueError("link-local addresses are no host's")
        return cls(found["host"].strip("[]"), port, network)

    def covers(self, address: Address, host: str, port: int) -> bool:
        """Say whether this is the host, and the address one of its own."""
        return self.name == host.strip("[]") and self.port in (None, port) and address in self.network


@dataclass(frozen=True, slots=True)
class Reach:
    """Where requests may go: public addresses, private ones of ``networks`` or, of a host, of its own network.

    With ``bases`` only what they cover.
    """

    networks: tuple[Network, ...] = ()
    bases: tuple[Base, ...] | None = None
    hosts: tuple[PrivateHost, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str] = (), bases: Iterable[str] | None = None, hosts: Iterable[str] = ()) -> Reach:
        """Read what settings name.

        Raises:
            ValueError: one of them cannot be read.
        """
        read = tuple(ipaddress.ip_network(each, strict=False) for each in networks)
        return cls(read, None if bases is None else tuple(map(Base.parse, bases)), tuple(map(PrivateHost.parse, hosts)))

    def allows(self, address: Address, host: str | None = None, port: int = 0) -> bool:
        """Say whether this address may be connected to, by who means ``port`` of ``host``."""
        meant = effective(address)
        if is_public(meant) or any(meant in network for network in self.networks):
            return True
        return host is not None and any(each.covers(meant, host, port) for each in self.hosts)

    def check_url(self, url: str) -> None:
        """Accept a URL; names in it are looked up only when they are connected to.

        Raises:
            TargetRefused: no base covers it, or it has no form that may be sent, or names a refused address.
        """
        if self.bases is not None:
            if not any(base.covers(url) for base in self.bases):
                raise TargetRefused("no declared base URL covers this target")
            return
        try:
            meant = _split(url, query=True)
        except ValueError as error:
            raise TargetRefused(str(error)) from None
        literal = literal_of(meant.host)
        if literal is not None and not self.allows(literal, meant.host, meant.port):
            raise TargetRefused("the target's address is private and no setting allows it")


def literal_of(host: str) -> Address | None:
    """Return the address that a host is written as, None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Say whether a host of a URL is this machine by its very name or address."""
    literal = literal_of(host)
    return host == "localhost" if literal is None else effective(literal).is_loopback


def effective(address: Address) -> Address:
    """Return the address that packets reach: IPv6 forms that only carry an IPv4 address are that address."""
    if isinstance(address, IPv4Address):
        return address
    if (inner := address.ipv4_mapped or address.sixtofour) is not None:
        return inner
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    """Say whether anybody on the internet could be there, as opposed to us and our neighbours."""
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    if isinstance(address, IPv6Address):
        special = special or address.is_site_local or address.teredo is not None
    return address.is_global and not special


def _split(text: str, *, query: bool) -> Base:
    form = "write it as http(s)://host:port/path in lower case, without credentials and fragment"
    found = _URL.fullmatch(text)
    if found is None or (found["query"] is not None and not query):
        raise ValueError(form)
    host = found["host"]
    if host.startswith("[") and literal_of(host) is None:
        raise ValueError(form)
    port = int(found["port"]) if found["port"] else _PORTS[found["scheme"]]
    if not 0 < port < 65_536:
        raise ValueError("a port is 1 to 65535")
    path = (found["path"] or "").rstrip("/")
    # a server may decode before it resolves dots, and out of the prefix one would be
    steps = re.split(r"[/\\]", unquote(unquote(path)))
    if {".", ".."} & set(steps) or "//" in path:
        raise ValueError("a path has no empty steps and no dots alone")
    return Base(found["scheme"], host, port, path)
