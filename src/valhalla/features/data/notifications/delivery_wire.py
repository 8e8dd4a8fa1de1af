"""Messages, what became of them and how channels fare, on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, ConfigDict, Field

from valhalla.features.data.notifications.contracts import Attempt, Delivery, Outcome, Standing, Status
from valhalla.features.data.notifications.wire import ChannelName, EventType, Line
from valhalla.kernel.alerting import Severity
from valhalla.kit.http import WireModel


class SendIn(WireModel):
    """A message to send."""

    channel: ChannelName = Field(examples=["ops"])
    subject: Line = Field(examples=["The import is done"])
    body: str = Field("", max_length=10_000)
    severity: Severity = "info"
    type: EventType = "notification.message"
    data: dict[str, Any] = Field({}, max_length=100)
    key: str | None = Field(None, min_length=1, max_length=200, description="once per key and sender")


class ItemOut(WireModel):
    """One thing that happened."""

    type: str
    at: datetime
    severity: Severity
    title: str
    subject: str
    body: str | None
    data: dict[str, Any]


class AttemptOut(WireModel):
    """One try."""

    number: int
    at: datetime
    seconds: float
    outcome: Outcome
    status: int | None
    error: str | None
    excerpt: str | None = Field(description="the beginning of what was answered")

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """Return the model."""
        return cls(**{name: getattr(attempt, name) for name in cls.model_fields})


class DeliveryOut(WireModel):
    """One message to one channel; `id` is its `webhook-id` in every attempt."""

    id: str
    channel: str
    rule: str | None
    status: Status
    type: str
    severity: Severity
    title: str
    count: int
    attempts: int
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None
    error: str | None
    actor: str
    origin: str | None = Field(description="the delivery that this one stands in for")
    fell_back: bool
    correlation_id: str | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """Return the model."""
        return cls(**{name: getattr(delivery, name) for name in DeliveryOut.model_fields})


class DeliveryDetailOut(DeliveryOut):
    """A delivery with what it tells and every attempt."""

    items: list[ItemOut]
    tries: list[AttemptOut]

    @classmethod
    def detail(cls, delivery: Delivery, tries: list[Attempt]) -> Self:
        """Return the model."""
        members = {name: getattr(delivery, name) for name in DeliveryOut.model_fields}
        items = [ItemOut(**{name: getattr(item, name) for name in ItemOut.model_fields}) for item in delivery.items]
        return cls(**members, items=items, tries=[AttemptOut.of(each) for each in tries])


class DeliveryPage(WireModel):
    """One page of deliveries, the newest first."""

    items: list[DeliveryOut]
    next: str | None


class ReplayIn(WireModel):
    """Which dead deliveries begin again; all when nothing is named."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"channel": "ops"}]})

    ids: list[Annotated[str, Field(pattern=r"^[a-z0-9]{1,64}$")]] = Field([], max_length=1000)
    channel: ChannelName | None = None
    rule: ChannelName | None = None
    type: EventType | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class ReplayOut(WireModel):
    """How many dead deliveries fitted, and which began or would begin again (1,000 at most at once)."""

    matched: int
    replayed: int
    ids: list[str]
    dry_run: bool


class TestOut(WireModel):
    """What came of a test message."""

    delivered: bool
    outcome: Outcome
    status: int | None
    error: str | None
    excerpt: str | None
    seconds: float


class SecretOut(WireModel):
    """A new signing secret, told this once; the one before signs too until `old_until`."""

    secret: str
    old_until: datetime | None


class KeysOut(WireModel):
    """What receivers verify with; the symmetric secret is not among it."""

    signatures: list[str]
    public_key: str | None = Field(description="whpk_… of v1a")
    secrets: int = Field(description="how many symmetric secrets sign now")


class StandingOut(WireModel):
    """How a channel fares."""

    channel: str
    enabled: bool
    failures: int
    failing_since: datetime | None
    paused_until: datetime | None
    last_error: str | None
    delivered_at: datetime | None
    pending: int
    failed: int
    delivering: int
    dead: int

    @classmethod
    def of(cls, name: str, enabled: bool, standing: Standing | None, waiting: dict[tuple[str, str], int]) -> Self:
        """Return the model."""
        fares = standing or Standing(channel=name)
        known = ("failures", "failing_since", "paused_until", "last_error", "delivered_at")
        members: dict[str, Any] = {each: getattr(fares, each) for each in known}
        for status in ("pending", "failed", "delivering", "dead"):
            members[status] = waiting.get((name, status), 0)
        return cls(channel=name, enabled=enabled, **members)


class StatusOut(WireModel):
    """How every channel fares."""

    items: list[StandingOut]


class ResumedOut(WireModel):
    """How many messages are tried again at once."""

    channel: str
    hurried: int
