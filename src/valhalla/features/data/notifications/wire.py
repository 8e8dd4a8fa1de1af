"""Notifications on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from valhalla.features.data.notifications.contracts import (
    DAYS,
    Day,
    Form,
    Kind,
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
_Authorities = Annotated[
    str, Field(max_length=20_000, description="PEM certificates of authorities of your own that sign the server's")
]


class EmailModel(WireModel):
    """Mail by SMTP."""

    host: str = Field(max_length=253, examples=["smtp.example.com"])
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = Field(None, max_length=320)
    authorities: _Authorities | None = None
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
    authorities: _Authorities | None = None


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
    rate: str | None = Field(
        None, max_length=64, examples=["10/minute"], description="what is more waits, in its order"
    )
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
