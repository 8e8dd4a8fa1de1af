"""Lists of networks: pure. An IPv4 address that arrives mapped into IPv6 is the IPv4 address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from valhalla.kernel.problems import Invalid

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED: Final = 96


def network(text: str) -> Network:
    """Read ``10.0.0.0/8``, ``2001:db8::/32`` or a single address.

    Raises:
        Invalid: it is none, or has bits set that its length leaves out (``10.0.0.1/8``: which one was meant?).
    """
    try:
        found = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise Invalid(f"{text[:64]!a} is no network: write 10.0.0.0/8 or 2001:db8::/32") from error
    return _plain(found)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read several, without repetitions and in one order.

    Raises:
        Invalid: one cannot be read.
    """
    return tuple(sorted({network(text) for text in texts}, key=lambda one: (one.version, one)))


def holds(some: Iterable[Network], address: str | None) -> bool:
    """Say whether an address is in one of the networks; one that is not known or cannot be read is in none."""
    if address is None:
        return False
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    if mapped is not None:
        found = mapped
    return any(found.version == one.version and found in one for one in some)


def _plain(one: Network) -> Network:
    if one.version == 6 and one.prefixlen >= _MAPPED:
        mapped = one.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.ip_network((mapped, one.prefixlen - _MAPPED))
    return one
