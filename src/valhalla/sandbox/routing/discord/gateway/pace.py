"""How fast the client goes about things; other numbers than these are for tests."""

from __future__ import annotations

from dataclasses import dataclass

from valhalla.sandbox.routing.discord.gateway.turns import EVERY


@dataclass(frozen=True, slots=True)
class Pace:
    """All in seconds, but for ``patient``."""

    base: float = 1.0
    """The first pause before the next connection, of which half is drawn at random."""
    again: float = 30.0
    """The longest pause before a session is resumed."""
    anew: float = 300.0
    """The longest pause before a new one is begun: there are a thousand a day."""
    good: float = 30.0
    """A connection that lasted so long was a good one: pauses begin at ``base`` again."""
    silence: float = 30.0
    """How long the gateway may be silent until a connection has its session."""
    patient: int = 3
    """So many times the address of the session is tried before that of the gateway."""
    room: float = 10.0
    """How long the ingress may have no room before the connection is given up."""
    keeping: float = 0.5
    """How often sessions are written down."""
    identify_every: float = EVERY
