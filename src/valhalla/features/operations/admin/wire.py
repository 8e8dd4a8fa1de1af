"""The admin API on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from valhalla.kit.http import WireModel


class ModeOut(WireModel):
    """Who may write."""

    mode: str
    reason: str
    until: datetime | None


class HealthOut(WireModel):
    """How the process that answers is, from what was checked last."""

    phase: str
    ready: bool
    reason: str | None
    failing: list[str]


class ChangeOut(WireModel):
    """A change of a registry."""

    registry: str
    revision: int
    op: str
    key: str
    actor: str
    reason: str | None
    at: datetime


class EndingKey(WireModel):
    """An active key that ends within 14 days."""

    id: str
    name: str
    owner: str
    expires_at: datetime


class WindowOut(WireModel):
    """A window of maintenance, under way or within a week."""

    window: str
    start: datetime
    end: datetime
    running: bool


class DrainOut(WireModel):
    """A worker that shall take no more jobs: none runs there since ``drained_at``."""

    worker: str
    asked_by: str
    reason: str
    asked_at: datetime
    seen_at: datetime | None
    running: int | None
    drained_at: datetime | None


class OverviewOut(WireModel):
    """What an operator sees first. What the database counts is null while it does not answer."""

    at: datetime
    stale: bool = Field(description="the database does not answer")
    mode: ModeOut
    health: HealthOut
    alerts: dict[str, int] = Field(description="open and acknowledged ones by severity")
    holds: int | None = Field(None, description="guarded actions that wait for people; 200 at most are counted")
    jobs: dict[str, int] | None = Field(None, description="queued, running, dead and held ones")
    draining: list[DrainOut] | None = Field(None, description="workers that take no more jobs")
    changes: list[ChangeOut] | None = Field(None, description="the newest of all registries")
    expiring_keys: list[EndingKey]
    windows: list[WindowOut]


class ActionOut(WireModel):
    """One admin action."""

    name: str
    summary: str
    effect: str
    scope: str = Field(description="what the key needs besides operations:write")
    approval: str | None = Field(description="who else must agree before it is done")
    preview: bool = Field(description="whether a dry run says what would be done")
    arguments: dict[str, Any] = Field(description="the JSON Schema of the arguments")


class ActionList(WireModel):
    """The catalogue."""

    items: list[ActionOut]


class OrderIn(WireModel):
    """An action to execute."""

    model_config = ConfigDict(
        **WireModel.model_config
        | {"json_schema_extra": {"examples": [{"arguments": {"id": "k3v9x0q2m1n8b7c6"}, "reason": "it leaked"}]}}
    )

    arguments: dict[str, Any] = Field(default={}, max_length=50)
    reason: str = Field(min_length=3, max_length=500, description="kept in the ledger")


class DoneOut(WireModel):
    """What became of it. ``held``: it waits for approval under ``hold`` and is done once that is given."""

    operation: str = Field(description="its name in the ledger (GET /system/admin/operations?operation=)")
    action: str
    status: Literal["succeeded", "replayed", "planned", "held"]
    result: dict[str, Any] | None
    hold: str | None


class HandoutOut(WireModel):
    """A secret that waits for who asked for it; ``id`` is the operation's, ``subject`` what it is of."""

    id: str
    action: str
    subject: str
    made_at: datetime
    expires_at: datetime


class HandoutList(WireModel):
    """The oldest first."""

    items: list[HandoutOut]


class HandoutTaken(HandoutOut):
    """A secret that nobody can have again."""

    secret: str
