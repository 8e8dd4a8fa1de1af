"""The values of honeypots and decoys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

Type = Literal["opencanary", "cowrie", "other"]
Kind = Literal[
    "connection", "scan", "auth_attempt", "auth_success", "command", "file", "exploitation", "decoy_path",
    "decoy_key", "canary", "other",
]  # fmt: skip
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SCORES: Final[Mapping[Kind, int]] = {
    "other": 0,
    "connection": 1,
    "scan": 5,
    "auth_attempt": 5,
    "decoy_path": 10,
    "auth_success": 20,
    "command": 20,
    "exploitation": 30,
    "file": 40,
    "decoy_key": 100,
    "canary": 100,
}
"""How much each says against who did it; policies decide by the sum of an hour."""
DecoyKind = Literal["path", "key", "canary"]
Face = Literal["env", "login", "json", "forbidden", "none"]
DECOYS: Final = "decoys"
"""The honeypot that our own decoys report as."""


class Honeypot(msgspec.Struct, frozen=True):
    """A sensor that sends what it catches; ``client_id`` is the API client whose key it sends with."""

    name: str
    type: Type
    client_id: str
    location: str | None = None
    metadata: dict[str, Any] = {}
    active: bool = True


class Decoy(msgspec.Struct, frozen=True):
    """Something that nobody has a reason to touch.

    A ``path`` is answered as ``face`` says; ``*`` at its end stands for all below it. A ``key`` is known by its
    ``digest`` (SHA-256, hex). A ``canary`` is a word that was planted somewhere, seen in a path or query.
    """

    name: str
    kind: DecoyKind
    path: str | None = None
    face: Face = "none"
    word: str | None = None
    digest: str | None = None
    prefix: str | None = None
    score: int | None = None
    enabled: bool = True
    description: str | None = None


class Caught(NamedTuple):
    """One thing that a honeypot caught; ``uid`` is the same however often it is sent."""

    at: datetime
    uid: str
    honeypot: str
    kind: Kind
    service: str
    address: str | None
    score: int
    payload: Mapping[str, Any]


class Refused(NamedTuple):
    """An item of a batch that was not taken."""

    number: int
    """Its place in the batch, from 0."""
    reason: str


class Taken(NamedTuple):
    """What became of a batch."""

    accepted: int
    duplicates: int
    ignored: int
    refused: tuple[Refused, ...]


class Total(NamedTuple):
    """What is known of an address within the last hour."""

    score: int
    events: int


class Filter(NamedTuple):
    """Which events; what is absent is any."""

    honeypot: str | None = None
    kind: Kind | None = None
    address: str | None = None
    since: datetime | None = None
    until: datetime | None = None
