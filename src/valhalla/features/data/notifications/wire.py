"""Notifications on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field

from valhalla.features.data.notifications.contracts import (
    DAYS,
    Attempt,
    Day,
    Delivery,
    Form,
    Kind,
    Outcome,
    Standing,
    Status,
)
from valhalla.features.data.notifications.rules import NAME
from valhalla.kernel.alerting import Severity
from valhalla.kit.http import WireModel

ChannelName = Annotated[str, Field(pattern=rf"^{NAME}$")]
Secret = Annotated[str, Field(max_length=2000, description="written only; '***' keeps the one there is")]
EventType = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=100)]
Line = Annotated[str, Field(min_length=1, max_length=500)]
_Clock = Annotated[str, Field(max_length=5, examples=["22:00"])]
_Zone = Annotated[str, Field(max_length=64, examples=["Europe/Berlin"])]


class EmailModel(WireModel):
    """Mail by SMTP."""

    host: str = Field(max_length=253, examples=["smtp.example.com"])
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = Field(None, max_length=320)
    password: Secret | None = None
    sender: str = Field(max_length=450, examples=["Valhalla <valhalla@example.com>"])
    recipients: list[Annotated[str, Field(max_length=320)]] = Field(max_length=50, examples=[["ops@example.com"]])


class WebhookModel(WireModel):
    """Signed requests (Standard Webhooks 1.0)."""

    url: str = Field(max_length=2000, examples=["https://example.com/hooks/valhalla"], description="shown without path")
    form: Form = Field("standard", description="standard, alertmanager (version 4), or what the template makes")
    signatures: list[Literal["v1", "v1a"]] = Field(["v1"], max_length=2, description="HMAC-SHA256, ed25519")
    secret: Secret | None = Field(None, description="whsec_…; made when absent, and told once by POST …/secret")
    content_type: str = Field("application/json", max_length=100)
    headers: dict[Annotated[str, Field(max_length=100)], Secret] = Field({}, max_length=20)


class AppriseModel(WireModel):
    """Chat and SMS services by apprise."""

    urls: list[Secret] = Field(min_length=1, max_length=10, examples=[["slack://tokenA/tokenB/tokenC/#ops"]])


class ChannelModel(WireModel):
    """A channel as clients write it; of its secrets nothing is ever shown."""

    kind: Kind
    email: EmailModel | None = None
    webhook: WebhookModel | None = None
    apprise: AppriseModel | None = None
    enabled: bool = Field(True, description="false: what comes waits")
    ordered: bool = Field(True, description="false: several at once, and retries hold nothing up")
    concurrency: int = Field(8, ge=1, le=64, description="how many at once when not ordered")
    timeout: float = Field(20.0, ge=0.1, le=60, description="seconds of one attempt")
    attempts: int = Field(10, ge=1, le=10, description="of the schedule of Standard Webhooks")
    fallback: ChannelName | None = Field(None, description="who tells what this channel cannot")
    template: ChannelName | None = None
    description: str | None = Field(None, max_length=500)


class QuietModel(WireModel):
    """Hours in which only what is grave is sent; the rest comes as one message at their end."""

    start: _Clock
    end: _Clock
    zone: _Zone = "UTC"
    days: list[Day] = Field(list(DAYS), min_length=1, max_length=7, description="on which they begin")
    above: Severity = Field("critical", description="sent all the same")


class DigestModel(WireModel):
    """One message for everything since the last."""

    every: int | None = Field(None, ge=60, le=604_800, description="seconds")
    at: _Clock | None = Field(None, description="once a day")
    zone: _Zone = "UTC"


class RuleModel(WireModel):
    """Which events go to which channels, and when."""

    channels: list[ChannelName] = Field(min_length=1, max_length=20, examples=[["ops"]])
    events: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        ["alert.*"], min_length=1, max_length=50, description="types of events; `*` stands for any characters"
    )
    minimum: Severity = "info"
    where: dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=500)]] = Field(
        {}, max_length=20, description="members of the event, or labels, that must be so", examples=[{"region": "eu"}]
    )
    quiet: QuietModel | None = None
    group_by: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field([], max_length=10)
    group_wait: float = Field(0, ge=0, le=3600, description="seconds in which others join the first")
    digest: DigestModel | None = None
    rate: str | None = Field(
        None, max_length=64, examples=["20/hour"], description="what is more is gathered in one message"
    )
    fallback: ChannelName | None = None
    template: ChannelName | None = None
    enabled: bool = True
    description: str | None = Field(None, max_length=500)


class TemplateModel(WireModel):
    """How messages read (Jinja2): `event`, `events`, `count`, `severity`, `title`, `text`, `channel`, `rule`, `id`."""

    body: str = Field(min_length=1, max_length=20_000, examples=["{{ event.title }} since {{ event.at }}"])
    subject: str | None = Field(None, max_length=2000)
    html: str | None = Field(None, max_length=50_000, description="of mail; values are escaped")
    description: str | None = Field(None, max_length=500)


class EventIn(WireModel):
    """An event to think through."""

    type: Line = Field("alert.opened", examples=["alert.opened"])
    severity: Severity | None = None
    title: Line | None = None
    data: dict[str, Any] = Field({}, max_length=200)


class PreviewIn(WireModel):
    """What to render: a stored template or one that is not stored yet."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"template": {"body": "{{ event.title }}"}, "event": {"title": "It broke"}}]}
    )

    name: ChannelName | None = None
    template: TemplateModel | None = None
    event: EventIn = Field(default_factory=lambda: EventIn.model_validate({}))


class PreviewOut(WireModel):
    """What a template makes of an event."""

    subject: str | None
    body: str
    html: str | None


class RoutedOut(WireModel):
    """One message that an event would become."""

    channel: str
    rule: str | None
    due_at: datetime
    bundled: bool
    exists: bool


class RouteOut(WireModel):
    """What would be told of an event; nothing is."""

    severity: Severity
    title: str
    items: list[RoutedOut]


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
