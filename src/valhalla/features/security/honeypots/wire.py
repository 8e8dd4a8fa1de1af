"""Honeypots, decoys and what they caught on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from valhalla.features.security.honeypots import rules
from valhalla.features.security.honeypots.contracts import DecoyKind, Face, Kind, Type
from valhalla.features.security.honeypots.reading import Read, address_of, identity_of, payload
from valhalla.kit.http import WireModel

_Network = Annotated[str, Field(max_length=50)]
_TEXT = r"^[^\x00]*$"


class HoneypotModel(WireModel):
    """What can be said of a sensor."""

    type: Type = Field("other", description="whose events it sends")
    location: str | None = Field(None, max_length=200, examples=["dmz-1"])
    metadata: dict[str, Any] = Field(default={}, max_length=50, examples=[{"rack": 7}])


class HoneypotMore(WireModel):
    """What the server says of it."""

    active: bool
    client_id: str = Field(description="the API client that it sends with")


class HoneypotIn(HoneypotModel):
    """A sensor to register."""

    name: str = Field(pattern=f"^{rules.NAME}$", max_length=63, examples=["dmz-ssh"])
    networks: list[_Network] = Field(default=[], max_length=50, description="where its key may be used from")


class HoneypotOut(HoneypotModel, HoneypotMore):
    """A sensor without its key."""

    name: str
    version: int
    created_at: datetime
    updated_at: datetime


class RegisteredOut(HoneypotOut):
    """A sensor with its fresh key, which is shown this once."""

    key: str


class RotateIn(WireModel):
    """How to rotate."""

    grace_seconds: int = Field(0, ge=0, le=30 * 86_400, description="how long the old key is taken beside the new one")
    model_config = {"json_schema_extra": {"examples": [{"grace_seconds": 60}]}}


class KeyOut(WireModel):
    """A fresh key, which is shown this once."""

    name: str
    key: str


class EventIn(WireModel):
    """One event of a sensor of your own. Without ``id`` equal events at one instant are one."""

    at: AwareDatetime = Field(examples=["2026-01-01T00:00:00Z"], description="when it happened: within the last day")
    kind: Kind = Field(examples=["auth_attempt"])
    address: str | None = Field(None, max_length=60, examples=["203.0.113.7"])
    service: str = Field("other", min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_.-]+$", examples=["ssh"])
    id: str | None = Field(None, min_length=1, max_length=200, pattern=_TEXT)
    payload: dict[str, Any] = Field(default={}, max_length=100)

    def read(self) -> Read:
        """Return the value."""
        identity = self.id or identity_of(self.model_dump(mode="json"))
        return Read(self.at, identity, self.kind, self.service, address_of(self.address), payload(self.payload))


class EventsIn(WireModel):
    """Up to 1000 events."""

    items: list[EventIn] = Field(
        min_length=1,
        max_length=1000,
        examples=[[{"at": "2026-01-01T00:00:00Z", "kind": "auth_attempt", "address": "203.0.113.7"}]],
    )


class RefusedOut(WireModel):
    """One that was not taken."""

    number: int = Field(description="its place in the batch, from 0")
    reason: str


class TakenOut(WireModel):
    """What became of them. ``duplicates`` were taken before; ``ignored`` say nothing of anybody."""

    accepted: int
    duplicates: int
    ignored: int
    refused: list[RefusedOut]


class EventOut(WireModel):
    """One thing that was caught."""

    at: datetime
    uid: str
    honeypot: str
    kind: str
    service: str
    address: str | None
    score: int
    payload: Mapping[str, Any] | None
    received_at: datetime


class EventPage(WireModel):
    """One page of what was caught, newest first."""

    items: list[EventOut]
    next: str | None


class ActiveAddress(WireModel):
    """What is known of one address."""

    address: str
    score: int
    events: int
    last_at: datetime


class TouchOut(WireModel):
    """How often one decoy or sensor was touched in one part of the time."""

    name: str
    decoy: bool = Field(description="whether it is a decoy of ours, and not a sensor")
    at: datetime = Field(description="when the part begins")
    events: int
    addresses: int = Field(description="of how many addresses")
    address: str | None = Field(description="whose it was, if it was one alone")


class ActivityOut(WireModel):
    """What was caught within some hours."""

    since: datetime
    kinds: dict[str, int]
    honeypots: dict[str, int]
    addresses: list[ActiveAddress] = Field(description="the twenty with the highest scores")
    step: float = Field(description="seconds of one part of the time; there are 24")
    touches: list[TouchOut] = Field(description="what was touched when, newest first")


class DecoyModel(WireModel):
    """A decoy as clients write it; decoy keys are made by ``POST …/keys``."""

    kind: DecoyKind = "path"
    path: str | None = Field(None, max_length=300, examples=["/.env"], description="a star at its end: all below it")
    face: Face = Field("none", description="what a path answers")
    word: str | None = Field(None, max_length=128, description="of a canary; made up when absent")
    score: int | None = Field(None, ge=0, le=rules.HIGHEST, description="10 of a path, 100 of the others when absent")
    enabled: bool = True
    description: str | None = Field(None, max_length=500)


class DecoyMore(WireModel):
    """What the server says of it."""

    prefix: str | None = Field(description="how a decoy key begins")


class DecoyKeyIn(WireModel):
    """A decoy key to make."""

    name: str = Field(pattern=f"^{rules.NAME}$", max_length=63, examples=["ci-backup-key"])
    score: int | None = Field(None, ge=0, le=rules.HIGHEST)
    description: str | None = Field(None, max_length=500, examples=["in the wiki's onboarding page"])
