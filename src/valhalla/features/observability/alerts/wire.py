"""The models of ``/system/alerts``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from valhalla.features.observability.alerts.contracts import Alert, Filter, Matcher, Silence, Status
from valhalla.kernel.alerting import Severity
from valhalla.kit.http import WireModel

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/ -]{0,199}$")]
# no NUL: nothing that is stored has one
Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$")]
LabelValue = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")]


class AlertIn(WireModel):
    """An alert to raise; equal source, name and labels are one alert."""

    name: Name = Field(examples=["checkout.payment_failed"])
    severity: Severity = "error"
    title: Line | None = Field(None, description="the name when absent")
    source: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,62}$")] = "api"
    labels: dict[Label, LabelValue] = Field({}, max_length=50, examples=[{"region": "eu"}])
    context: dict[str, Any] = Field({}, max_length=200, description="kept of the latest occurrence, without secrets")


class AlertOut(WireModel):
    """An alert; ``count`` and ``first_at`` are of all its episodes."""

    id: str
    fingerprint: str
    name: str
    title: str
    severity: Severity
    status: Status
    source: str
    labels: dict[str, str]
    context: dict[str, Any]
    count: int
    episodes: int
    escalations: int
    first_at: datetime
    opened_at: datetime
    last_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None
    silenced_by: list[str]

    @classmethod
    def of(cls, alert: Alert, over: Callable[[Alert], tuple[str, ...]]) -> Self:
        """Return the model of an alert; ``over`` tells its silences."""
        members = {name: getattr(alert, name) for name in cls.model_fields if name != "silenced_by"}
        return cls(**members, silenced_by=list(over(alert)))


class RaisedOut(WireModel):
    """What became of an alert that was sent: ``alert`` is absent when a rule mutes it or waits for more."""

    alert: AlertOut | None


class AlertPage(WireModel):
    """One page of alerts, those that were opened last first."""

    items: list[AlertOut]
    next: str | None


class NoteIn(WireModel):
    """Why; kept with the alert and in the ledger."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "the disk is being replaced"}]})

    note: Line | None = None


class FilterIn(WireModel):
    """Which alerts; what is absent is not asked for."""

    status: list[Status] = Field([], max_length=3)
    severity: list[Severity] = Field([], max_length=4)
    source: Line | None = None
    name: Line | None = None
    text: Line | None = Field(None, description="part of the title or name")

    def value(self) -> Filter:
        """Return the filter."""
        return Filter(
            statuses=tuple(self.status),
            severities=tuple(self.severity),
            source=self.source,
            name=self.name,
            text=self.text,
        )


class BulkIn(WireModel):
    """What to do with every alert that fits."""

    action: Literal["acknowledge", "resolve"] = Field(examples=["acknowledge"])
    filter: FilterIn = Field(examples=[{"severity": ["info"], "source": "job"}])
    note: Line | None = None


class BulkOut(WireModel):
    """How many alerts fitted, and which were or would be changed (10,000 at most)."""

    matched: int
    changed: int
    ids: list[str]
    dry_run: bool


class MatcherModel(WireModel):
    """A condition on a label; ``regex`` is RE2 and must fit the whole value."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    value: Annotated[str, Field(max_length=1000)]
    regex: bool = False
    equal: bool = True

    def matcher(self) -> Matcher:
        """Return the value."""
        return Matcher(self.name, self.value, self.regex, self.equal)


class SilenceIn(WireModel):
    """Alerts that fit every matcher are told to nobody until then."""

    matchers: list[MatcherModel] = Field(
        min_length=1, max_length=50, examples=[[{"name": "alertname", "value": "job.dead"}]]
    )
    until: AwareDatetime = Field(examples=["2030-01-01T00:00:00Z"])
    starts_at: AwareDatetime | None = Field(None, description="now when absent")
    reason: Line = Field(examples=["moving the database"])


class AlertSilenceIn(WireModel):
    """One alert is told to nobody until then."""

    until: AwareDatetime = Field(examples=["2030-01-01T00:00:00Z"])
    reason: Line = Field(examples=["moving the database"])


class SilenceOut(WireModel):
    """A silence."""

    id: str
    state: Literal["pending", "active", "expired"]
    matchers: list[MatcherModel]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    reason: str
    updated_at: datetime

    @classmethod
    def of(cls, silence: Silence, state: str) -> Self:
        """Return the model of a silence."""
        matchers = [MatcherModel(name=m.name, value=m.value, regex=m.regex, equal=m.equal) for m in silence.matchers]
        members = {name: getattr(silence, name) for name in cls.model_fields if name not in ("matchers", "state")}
        return cls.model_validate({**members, "matchers": matchers, "state": state})


class SilenceList(WireModel):
    """All silences, the ones that end last first."""

    items: list[SilenceOut]
