"""Deployments on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, Field

from valhalla.features.operations.deployments.contracts import Deployment, Dora, Status, Target, Verdict
from valhalla.kit.http import WireModel

PLACE = r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,62}$"


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("an instant this near the ends of the calendar has no form in UTC") from None


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
_Place = Annotated[str, Field(pattern=PLACE)]


class DeploymentIn(WireModel):
    """A deployment to record."""

    environment: _Place = Field(examples=["production"])
    service: _Place = Field(examples=["checkout"])
    version: str = Field(min_length=1, max_length=100, pattern=r"^[\x21-\x7e]+$", examples=["2.4.1"])
    commit: str | None = Field(None, pattern=r"^[0-9a-fA-F]{7,64}$", examples=["9f1c2ab"])
    committed_at: Instant | None = Field(None, description="for the lead time", examples=["2026-01-01T12:00:00Z"])
    rollback_of: str | None = Field(None, max_length=64, description="the deployment that this one undoes")
    notes: str | None = Field(None, min_length=1, max_length=2000)
    start: bool = Field(False, description="it begins now")


class MoveIn(WireModel):
    """The next step of its life."""

    to: Target = Field(examples=["succeeded"])
    notes: str | None = Field(None, min_length=1, max_length=2000)
    force: bool = Field(False, description="succeed although the last smoke test failed")


class DeploymentOut(WireModel):
    """One deployment."""

    id: str
    environment: str
    service: str
    version: str
    commit: str | None
    committed_at: datetime | None
    status: Status
    actor: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    failed_at: datetime | None = Field(description="when it failed or was rolled back")
    rollback_of: str | None
    rolled_back_by: str | None
    smoke_run: str | None = Field(description="the last one linked to it")
    verdict: Verdict | None = Field(description="of that run; null while it has none")
    revisions: dict[str, int] = Field(description="of the registries a rollback may lead back to, when recorded")
    notes: str | None

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """Return the model of a deployment."""
        return cls(**{name: getattr(deployment, name) for name in cls.model_fields})


class DeploymentPage(WireModel):
    """One page of deployments, the newest first."""

    items: list[DeploymentOut]
    next: str | None


class CurrentOut(WireModel):
    """What runs where."""

    items: list[DeploymentOut]


class SpreadOut(WireModel):
    """Durations in seconds."""

    count: int
    median: float | None
    p90: float | None


class DoraOut(WireModel):
    """The four figures."""

    since: datetime
    until: datetime
    deployments: int = Field(description="that went live")
    per_day: float
    failures: int = Field(description="that failed or were rolled back")
    failure_rate: float | None = Field(description="of all that finished; null for none")
    lead_time: SpreadOut = Field(description="from commit to live; of those whose commit has a time")
    time_to_restore: SpreadOut = Field(description="from the failure to the next that went live in its place")
    unrestored: int = Field(description="failures that nothing has followed yet")
    truncated: bool = Field(description="only the newest 50,000 were looked at")

    @classmethod
    def of(cls, dora: Dora) -> Self:
        """Return the model of the figures."""
        values = {name: getattr(dora, name) for name in cls.model_fields}
        for name in ("lead_time", "time_to_restore"):
            values[name] = SpreadOut(**{part: getattr(values[name], part) for part in SpreadOut.model_fields})
        return cls(**values)
