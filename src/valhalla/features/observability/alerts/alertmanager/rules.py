"""Between Alertmanager's alerts and ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from valhalla.features.observability.alerts.alertmanager.wire import (
    AlertState,
    GettableAlert,
    GettableSilence,
    PostableAlert,
    Receiver,
    SilenceState,
    WireMatcher,
)
from valhalla.features.observability.alerts.contracts import Alert, Raised, Silence
from valhalla.features.observability.alerts.matching import labels_of
from valhalla.kernel import alerting
from valhalla.kernel.alerting import Severity
from valhalla.kernel.problems import Invalid

SOURCE: Final = "alertmanager"
NOBODY: Final = "default"
RESOLVE: Final = timedelta(minutes=5)
"""How long an alert holds that was sent without an end."""
_LABELS: Final = 100
_SIZE: Final = 16_384
_SEVERITIES: Final[Mapping[str, Severity]] = {
    **dict.fromkeys(("critical", "fatal", "emergency", "page", "disaster", "p1"), "critical"),
    **dict.fromkeys(("error", "major", "high", "p2"), "error"),
    **dict.fromkeys(("warning", "warn", "minor", "average", "medium", "p3"), "warning"),
    **dict.fromkeys(("info", "information", "informational", "notice", "none", "low", "debug", "p4"), "info"),
}


def instant(value: datetime | None) -> datetime | None:
    """Return an instant in UTC; Go's zero time is none.

    Raises:
        Invalid: it has no form in UTC.
    """
    if value is None or value.year <= 1:
        return None
    try:
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).astimezone(UTC)
    except OverflowError as error:
        raise Invalid("an instant lies outside the calendar") from error


def raised(sent: PostableAlert, now: datetime) -> Raised:
    """Return what an alert that was sent means now: that it holds, or that it is over.

    Raises:
        Invalid: it has no labels or too many, or ends before it starts.
    """
    labels = {name: value for name, value in sent.labels.items() if value}
    annotations = sent.annotations or {}
    if not labels:
        raise Invalid("at least one label pair required")
    if "" in labels:
        raise Invalid("a label has no name")
    size = sum(len(name) + len(value) for name, value in labels.items())
    if len(labels) > _LABELS or size > _SIZE:
        raise Invalid(f"an alert has {_LABELS} labels of {_SIZE} characters at most")
    starts, ends = instant(sent.starts_at), instant(sent.ends_at)
    if starts is not None and ends is not None and ends < starts:
        raise Invalid("start time must be before end time")
    over = ends is not None and ends <= now
    name = labels.get("alertname", "alert")
    title = annotations.get("summary") or annotations.get("message") or annotations.get("description") or name
    return Raised(
        fingerprint=alerting.fingerprint(SOURCE, labels),
        name=name,
        source=SOURCE,
        severity=_SEVERITIES.get(labels.get("severity", "").lower(), "warning"),
        title=title.strip() or name,
        at=now,
        labels=labels,
        context={"annotations": annotations, "generatorURL": sent.generator_url or ""},
        resolves=over,
        starts_at=starts or (min(ends, now) if ends is not None else now),
        ends_at=ends or now + RESOLVE,
    )


def gettable(alert: Alert, silenced_by: tuple[str, ...], receivers: Sequence[str], now: datetime) -> GettableAlert:
    """Return an alert, ours or one that was sent, as Alertmanager shows it."""
    sent = alert.source == SOURCE
    annotations: Any = alert.context.get("annotations") if sent else None
    told = cast("dict[str, str]", annotations) if isinstance(annotations, dict) else {"summary": alert.title}
    return GettableAlert(
        labels=alert.labels if sent else labels_of(alert),
        annotations=told,
        receivers=tuple(Receiver(name) for name in receivers or (NOBODY,)),
        fingerprint=alert.fingerprint,
        starts_at=alert.starts_at,
        updated_at=alert.last_at,
        ends_at=alert.ends_at or now + RESOLVE,
        status=AlertState(state="suppressed" if silenced_by else "active", silenced_by=silenced_by),
        generator_url=str(alert.context.get("generatorURL", "")) if sent else "",
    )


def gettable_silence(silence: Silence, state: str) -> GettableSilence:
    """Return a silence as Alertmanager shows it."""
    return GettableSilence(
        id=silence.id,
        status=SilenceState(state),
        updated_at=silence.updated_at,
        matchers=tuple(
            WireMatcher(name=one.name, value=one.value, is_regex=one.regex, is_equal=one.equal)
            for one in silence.matchers
        ),
        starts_at=silence.starts_at,
        ends_at=silence.ends_at,
        created_by=silence.created_by,
        comment=silence.reason,
    )
