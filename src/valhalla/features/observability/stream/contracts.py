"""The values of live events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from valhalla.kernel.principal import Principal

SCOPE: Final = "events:read"
NOTHING: Final = frozenset({"-"})
"""The topics of who has not said yet what to hear."""

Kind = Literal["hello", "event", "reset", "ping", "closed"]
Ending = Literal["slow", "shutdown", "unauthenticated"]
Recheck = Callable[[], Principal | None]
"""Says who asks now: nobody, once the key is revoked."""


class Frame(NamedTuple):
    """One thing to send. ``body`` is JSON; whoever saw everything up to here resumes at ``resume``."""

    kind: Kind
    resume: int | None = None
    body: bytes = b"{}"
    number: int | None = None
    """The event's own id, ``None`` for what is not kept."""
    subject: str = ""


class Bounds(NamedTuple):
    """What streams may take; times in seconds."""

    queue: int = 1000
    """Events that wait for one client; one more, and it is dropped."""
    per_principal: int = 20
    total: int = 1000
    replay: int = 10_000
    """Events that a client which comes back is told; one that missed more has to begin anew."""
    heartbeat: float = 15.0
    gap: float = 15.0
    """How long a number that is missing may still belong to a transaction that has not ended."""
    patience: float = 5.0
    """How long a dropped client may take to read that it was."""
