"""Addresses as numbers: what the index looks up."""

from __future__ import annotations

import ipaddress
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

# ::ffff:0:0/96
_MAPPED: Final = 0xFFFF


def number_of(address: str) -> tuple[int, int] | None:
    """Return the family (4 or 6) and the number of an address, None for what is none.

    An IPv4 address that is mapped into IPv6 is the IPv4 address: a client must not get past a rule by how it connects.
    """
    try:
        return 4, int.from_bytes(inet_pton(AF_INET, address))
    except (OSError, ValueError):
        pass
    try:
        number = int.from_bytes(inet_pton(AF_INET6, address.partition("%")[0]))
    except (OSError, ValueError):
        return None
    return (4, number & 0xFFFFFFFF) if number >> 32 == _MAPPED else (6, number)


def network_number(text: str) -> tuple[int, int, int]:
    """Return family, number and length of a network or address in its one form (``203.0.113.0/24``).

    Raises:
        ValueError: it is none.
    """
    address, _, length = text.partition("/")
    found = number_of(address)
    if found is None:
        raise ValueError(f"no network: {text[:64]!a}")
    family, number = found
    return family, number, int(length) if length else (32 if family == 4 else 128)


def text_of(family: int, number: int, length: int) -> str:
    """Return the one form of an address or network."""
    if family == 4:
        address = f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        return address if length == 32 else f"{address}/{length}"
    address = str(ipaddress.IPv6Address(number))
    return address if length == 128 else f"{address}/{length}"


def key_at(family: int, number: int, length: int) -> str:
    """Return the key of the rule that blocks a network."""
    kind = "ip" if length == (32 if family == 4 else 128) else "cidr"
    shift = (32 if family == 4 else 128) - length
    return f"{kind}:{text_of(family, number >> shift << shift, length)}"
