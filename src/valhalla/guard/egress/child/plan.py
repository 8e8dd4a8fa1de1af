"""What a confined program needs, worked out before anything is forked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from valhalla.guard.egress.child.network import local_daemons
from valhalla.guard.egress.endpoints import UNIX, Endpoints, is_address
from valhalla.guard.egress.errors import CannotSeal

HOSTS: Final = Path("/etc/hosts")


@dataclass(frozen=True, slots=True)
class Plan:
    """``doors`` are addresses to listen at, ``hosts`` is a changed ``/etc/hosts``, ``hidden`` are daemons' sockets."""

    doors: tuple[tuple[str, int], ...]
    hosts: str | None
    hidden: tuple[str, ...]


def make(allow: Iterable[str]) -> Plan:
    """Resolve the endpoints.

    Raises:
        Invalid: one is none.
        CannotSeal: one has no address, or leaves its port open: a door has both.
    """
    endpoints = Endpoints(allow)
    doors: list[tuple[str, int]] = []
    names: list[str] = []
    for endpoint in endpoints.listed:
        if endpoint.host.startswith(UNIX):
            continue
        addresses = (endpoint.host,) if is_address(endpoint.host) else endpoints.addresses[endpoint.host]
        if not addresses or endpoint.port is None:
            raise CannotSeal(f"{endpoint} has no address" if endpoint.port else f"{endpoint} has no port")
        doors += [(address, endpoint.port) for address in addresses]
        if not is_address(endpoint.host) and endpoint.host != "localhost":
            names += [f"{address} {endpoint.host}" for address in addresses]
    kept = {endpoint.host.removeprefix(UNIX) for endpoint in endpoints.listed}
    hidden = tuple(path for path in local_daemons() if path not in kept)
    return Plan(tuple(dict.fromkeys(doors)), _hosts(names), hidden)


def _hosts(names: list[str]) -> str | None:
    if not names or not HOSTS.is_file():
        return None
    # the first line that names a host decides
    return "\n".join([*dict.fromkeys(names), HOSTS.read_text(errors="replace")])
