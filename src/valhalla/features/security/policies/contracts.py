"""The values of policies and of the security mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from valhalla.kernel.principal import Principal

Mode = Literal["normal", "elevated", "lockdown"]
MODES: Final[tuple[Mode, ...]] = ("normal", "elevated", "lockdown")
"""From the calmest to the strictest."""
Action = Literal["allow", "log", "challenge", "block", "elevate", "hold"]
On = Literal["request", "honeypot"]
About = Literal["request", "honeypot", "action", "rule"]
"""What a condition can be about; of actions that wait for people approval chains ask, of rules the blocklist."""
Subject = Literal["address", "owner", "key"]
"""Whom a block hits: the address, every key of the owner, or the one key; without a key it is the address."""
COUNTERS: Final = ("failed_auth", "scans", "denied", "decoys")
"""What is counted per address, each within the last minute and, with ``_hour``, within the last hour."""
MOST_COUNTED: Final = 256
"""Where a count stops: a policy that waits for more would never act."""


class Policy(msgspec.Struct, frozen=True):
    """One policy: if ``when`` (CEL) holds for a request, or for what a honeypot caught, ``action`` follows.

    The highest ``priority`` comes first, equal ones by name; the first that ends the matter does (``allow``,
    ``challenge``, ``block``, ``hold``), ``log`` and ``elevate`` go on to the next. ``paths``, ``methods`` and ``modes``
    narrow what it is asked about, and cost nothing elsewhere. ``duration`` (seconds) is how long a block, a raised mode
    or a granted hold lasts. A ``shadow`` policy does nothing and counts what it would have done.
    """

    name: str
    when: str
    action: Action
    on: On = "request"
    priority: int = 0
    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = MODES
    duration: float = 900.0
    subject: Subject = "address"
    mode: Mode = "elevated"
    """Of ``elevate``: what the mode is raised to."""
    shadow: bool = False
    enabled: bool = True
    description: str | None = None


class Request(NamedTuple):
    """One request as policies see it; the names of headers are in lower case."""

    method: str
    path: str
    route: str
    query: bytes
    headers: Mapping[bytes, bytes]
    address: str | None
    principal: Principal | None


class Source(NamedTuple):
    """What a honeypot caught and from where, as policies on honeypots see it; scores are of the last hour."""

    address: str
    kind: str
    honeypot: str
    service: str
    score: int
    """Of this event."""
    total: int
    """Of every event of this address."""
    events: int


class Verdict(NamedTuple):
    """What one policy says; ``error`` is the kind of what made its condition fail, which counts as no match."""

    policy: Policy
    matched: bool
    error: str | None = None


class Deed(NamedTuple):
    """Something that a policy wants done, off the path of the request."""

    policy: Policy
    address: str | None
    principal: Principal | None
    what: str
    """The request or the event, for people."""


class Decision(NamedTuple):
    """What policies say together: the one that ended the matter (``None``: nobody did), and what is to be done."""

    ending: Policy | None
    deeds: tuple[Deed, ...]


class Standing(NamedTuple):
    """Which mode holds at an instant; ``until`` is when it falls back, ``None`` of ``normal``."""

    mode: Mode
    reason: str
    actor: str
    since: datetime | None
    until: datetime | None


class ModeState(msgspec.Struct, frozen=True):
    """What was set last. ``mode`` is any text, so that one of a newer release is read, and taken for the strictest."""

    mode: str = "normal"
    reason: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None


class Grant(msgspec.Struct, frozen=True):
    """A hold that was approved: ``principal`` passes ``policy`` until then."""

    policy: str
    principal: str
    until: datetime


Hold = Callable[[Deed], Awaitable[Mapping[str, Any]]]
"""Asks people to let a principal pass; returns what is told of it."""
