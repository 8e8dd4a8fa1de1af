"""Notifications as values."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from valhalla.kernel.alerting import Severity
from valhalla.kernel.lifecycle import Lifecycle

Kind = Literal["email", "webhook", "apprise"]
Status = Literal["pending", "delivering", "delivered", "failed", "dead"]
Outcome = Literal["delivered", "failed", "refused", "gone"]
"""What came of one attempt: ``refused`` is this message only, ``gone`` the end of the channel."""
Form = Literal["standard", "alertmanager", "template"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

LIFECYCLE: Final = Lifecycle(
    name="delivery",
    initial="pending",
    transitions={
        "pending": frozenset({"delivering", "dead"}),
        # what was taken and not sent is given back
        "delivering": frozenset({"delivered", "failed", "dead", "pending"}),
        "failed": frozenset({"delivering", "dead"}),
        "delivered": frozenset(),
        # a replay begins again, under the same id
        "dead": frozenset({"pending"}),
    },
)


class Email(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where mail goes and by which server; the password is among the channel's secrets."""

    host: str
    sender: str
    recipients: tuple[str, ...]
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    authorities: str | None = None
    """PEM certificates that the server's may be signed by, besides the public ones."""


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where requests go and in which form; signing keys, headers' values and the URL's path are secrets.

    ``url`` is what may be shown of it.
    """

    url: str
    form: Form = "standard"
    signatures: tuple[Literal["v1", "v1a"], ...] = ("v1",)
    content_type: str = "application/json"
    header_names: tuple[str, ...] = ()
    authorities: str | None = None
    """PEM certificates that the receiver's may be signed by, besides the public ones."""


class Apprise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Chat and SMS services; the URLs hold their tokens and are among the channel's secrets, these are their kinds."""

    services: tuple[str, ...]


class Secrets(msgspec.Struct, frozen=True):
    """What of a channel is sealed."""

    password: str | None = None
    keys: tuple[str, ...] = ()
    """``whsec_…``, the newest first; all of them sign."""
    old_until: datetime | None = None
    """When the older ones cease to sign."""
    headers: dict[str, str] = {}
    url: str | None = None
    """Of a webhook: many services take the path for the password."""
    urls: tuple[str, ...] = ()


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way to people or programs. Exactly the member that ``kind`` names is set."""

    name: str
    kind: Kind
    sealed_secrets: str
    email: Email | None = None
    webhook: Webhook | None = None
    apprise: Apprise | None = None
    enabled: bool = True
    ordered: bool = True
    concurrency: int = 8
    """How many at once when not ordered."""
    timeout: float = 20.0
    attempts: int = 10
    rate: str | None = None
    """How many in which time, ``10/minute``; what is more waits."""
    fallback: str | None = None
    template: str | None = None
    description: str | None = None


class Quiet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hours of wall-clock time in which only what is at least ``above`` is sent; the rest waits for their end."""

    start: str
    end: str
    zone: str = "UTC"
    days: tuple[Day, ...] = DAYS
    """On which they begin."""
    above: Severity = "critical"


class Digest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message for everything since the last: each ``every`` seconds, or once a day ``at`` that time."""

    every: int | None = None
    at: str | None = None
    zone: str = "UTC"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events go to which channels, and when."""

    name: str
    channels: tuple[str, ...]
    events: tuple[str, ...] = ("alert.*",)
    minimum: Severity = "info"
    where: dict[str, str] = {}
    quiet: Quiet | None = None
    group_by: tuple[str, ...] = ()
    group_wait: float = 0.0
    digest: Digest | None = None
    rate: str | None = None
    fallback: str | None = None
    template: str | None = None
    enabled: bool = True
    description: str | None = None


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a message reads (Jinja2); ``html`` is for mail only."""

    name: str
    body: str
    subject: str | None = None
    html: str | None = None
    description: str | None = None


class Item(msgspec.Struct, frozen=True):
    """One thing that happened, as it is told."""

    type: str
    at: datetime
    severity: Severity
    title: str
    data: dict[str, Any] = {}
    subject: str = ""
    body: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one channel, with one id in every attempt; ``count`` things happened, some are ``items``."""

    id: str
    seq: int
    channel: str
    rule: str | None
    status: Status
    type: str
    severity: Severity
    title: str
    items: tuple[Item, ...]
    count: int
    template: str | None
    fallback: str | None
    path: tuple[str, ...]
    origin: str | None
    fell_back: bool
    attempts: int
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None
    error: str | None
    actor: str
    correlation_id: str | None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try; ``excerpt`` is the beginning of what was answered."""

    number: int
    at: datetime
    seconds: float
    outcome: Outcome
    status: int | None = None
    error: str | None = None
    excerpt: str | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a channel fares: ``failures`` in a row, and until when nothing is tried."""

    channel: str
    failures: int = 0
    failing_since: datetime | None = None
    paused_until: datetime | None = None
    told: bool = False
    last_error: str | None = None
    delivered_at: datetime | None = None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries; what is absent is not asked for."""

    channel: str | None = None
    status: Status | None = None
    rule: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
