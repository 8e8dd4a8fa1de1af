"""Which addresses may be a sandbox's upstream. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from valhalla.kit.outgoing_guard import Base, Reach, TargetRefused
from valhalla.kit.outgoing_guard.rules import Address, Network, effective, literal_of
from valhalla.sandbox.routing.http.errors import UpstreamRefused

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
# where clouds tell a machine its credentials; no setting opens them
_NEVER: Final[tuple[Network, ...]] = tuple(
    map(
        ipaddress.ip_network,
        ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
    )
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Public addresses, and the private ones of some networks."""

    reach: Reach

    @classmethod
    def of(cls, networks: Sequence[str] | None, *, loopback: bool) -> Allowed:
        """Read the setting; ``None`` is loopback where nobody else can reach us, or else no private address."""
        chosen: Iterable[str] = networks if networks is not None else LOOPBACK if loopback else ()
        return cls(Reach.of(chosen))

    def allows(self, address: Address) -> bool:
        """Say whether this address may be connected to."""
        meant = effective(address)
        return not any(meant in network for network in _NEVER) and self.reach.allows(address)

    def base(self, url: str) -> Base:
        """Return an upstream's URL taken apart; names in it are looked up only when they are connected to.

        Raises:
            UpstreamRefused: it has no form that may be sent, or names a refused address.
        """
        try:
            base = Base.parse(url)
            self.reach.check_url(url)
        except TargetRefused as problem:
            raise UpstreamRefused(problem.detail) from problem
        except ValueError as error:
            raise UpstreamRefused(str(error)) from error
        literal = literal_of(base.host)
        if literal is not None and not self.allows(literal):
            raise UpstreamRefused("this address is nobody's upstream")
        return base
