"""The forms of Alertmanager's OpenAPI v2: unknown members are ignored, as it does."""

from __future__ import annotations

from datetime import datetime

import msgspec

LabelSet = dict[str, str]


class PostableAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that a client sends, again and again while it holds."""

    labels: LabelSet
    annotations: LabelSet | None = None
    starts_at: datetime | None = msgspec.field(name="startsAt", default=None)
    ends_at: datetime | None = msgspec.field(name="endsAt", default=None)
    generator_url: str | None = msgspec.field(name="generatorURL", default=None)


class WireMatcher(msgspec.Struct, frozen=True, kw_only=True):
    """A condition on a label."""

    name: str
    value: str
    is_regex: bool = msgspec.field(name="isRegex")
    is_equal: bool | None = msgspec.field(name="isEqual", default=True)


class PostableSilence(msgspec.Struct, frozen=True, kw_only=True):
    """A silence to make, or with an id to change."""

    matchers: list[WireMatcher]
    starts_at: datetime = msgspec.field(name="startsAt")
    ends_at: datetime = msgspec.field(name="endsAt")
    created_by: str = msgspec.field(name="createdBy")
    comment: str
    id: str | None = None


class AlertState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether somebody is told."""

    state: str
    silenced_by: tuple[str, ...] = msgspec.field(name="silencedBy")
    inhibited_by: tuple[str, ...] = msgspec.field(name="inhibitedBy", default=())
    # newer clients read it, older ones ignore it
    muted_by: tuple[str, ...] = msgspec.field(name="mutedBy", default=())


class Receiver(msgspec.Struct, frozen=True):
    """Who is told."""

    name: str


class GettableAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that is not over."""

    labels: LabelSet
    annotations: LabelSet
    receivers: tuple[Receiver, ...]
    fingerprint: str
    starts_at: datetime = msgspec.field(name="startsAt")
    updated_at: datetime = msgspec.field(name="updatedAt")
    ends_at: datetime = msgspec.field(name="endsAt")
    status: AlertState
    generator_url: str = msgspec.field(name="generatorURL", default="")


class AlertGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts of one name."""

    labels: LabelSet
    receiver: Receiver
    alerts: tuple[GettableAlert, ...]


class SilenceState(msgspec.Struct, frozen=True):
    """``pending``, ``active`` or ``expired``."""

    state: str


class GettableSilence(msgspec.Struct, frozen=True, kw_only=True):
    """A silence."""

    id: str
    status: SilenceState
    updated_at: datetime = msgspec.field(name="updatedAt")
    matchers: tuple[WireMatcher, ...]
    starts_at: datetime = msgspec.field(name="startsAt")
    ends_at: datetime = msgspec.field(name="endsAt")
    created_by: str = msgspec.field(name="createdBy")
    comment: str
