"""The frozen values of routing that cross its borders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

Mode = Literal["steal", "mirror", "replay"]
"""Whose the events of a key are: the sandbox's; production's, with copies for it; production's, to be read again."""
Unread = Literal["drain", "return", "drop"]
"""What becomes of a lane's unread events at release: the sandbox reads on, production gets them, or nobody does."""
Laggards = Literal["fence", "refuse"]

STREAM: Final = "VH_EV"
ROUTES_STREAM: Final = "VH_ROUTES"
BEATS_STREAM: Final = "VH_INGRESS"
DEAD_STREAM: Final = "VH_DEAD"
ADVISORIES_STREAM: Final = "VH_DEAD_SIGNS"
BOTS_STREAM: Final = "VH_BOTS"

BEAT: Final = 0.1
LEASE: Final = 0.5
"""Seconds for which an ingress may publish after it sent a heartbeat that was stored."""
MAX_DATA: Final = 1_000_000


_NO_EXTENSIONS: Final[Mapping[str, str]] = MappingProxyType({})


def _no_extensions() -> Mapping[str, str]:
    # one for all: a dictionary of its own is a tenth of what an event costs
    return _NO_EXTENSIONS


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``id`` is the source's own: the same source and id is the same event, published once."""

    source: str
    key: str
    type: str
    data: bytes
    id: str
    time: datetime | None = None
    content_type: str = "application/json"
    traceparent: str | None = None
    baggage: str | None = None
    extensions: Mapping[str, str] = field(default_factory=_no_extensions)


@dataclass(frozen=True, slots=True)
class Received:
    """An event as a lane holds it. ``epoch`` is that of the claim which brought it there, 0 in production's."""

    event: Event
    sandbox: str | None
    sequence: int
    epoch: int
    mirrored: bool
    stored_at: datetime | None = None
    deliveries: int = 1

    def document(self) -> dict[str, Any]:
        """Return it for JSON; data that is JSON or text is readable."""
        from valhalla.sandbox.routing.envelope import document

        return document(self)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What ingresses do with one key: the body of a message in ``VH_ROUTES``; its sequence is the epoch.

    ``sandbox`` is None when the key is production's. ``held``: events of the key are kept back at the ingress.
    """

    kind: str
    sandbox: str | None = None
    mode: Mode = "steal"
    sample: float = 1.0
    held: bool = False
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Terms:
    """How a key is claimed. ``sample`` is the part of its events that a mirror copies, by their ids."""

    mode: Mode = "steal"
    sample: float = 1.0
    laggards: Laggards = "fence"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim that every ingress follows. ``fenced`` are ingresses that did not answer and were cut off."""

    kind: str
    key: str
    sandbox: str | None
    epoch: int
    milliseconds: float
    ingresses: int
    fenced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much the streams hold, from the settings."""

    max_bytes: int = 256 * 2**20
    max_age: timedelta = timedelta(hours=24)
    dedup: timedelta = timedelta(minutes=2)
    per_sandbox: int = 100_000
    lane_bytes: int = 64 * 2**20
    replicas: int = 1
    when_full: Literal["oldest", "refuse"] = "oldest"
