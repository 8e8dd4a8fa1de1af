"""What is worth a person's attention."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from valhalla.sdk.access import Model
from valhalla.sdk.further_calls import SilenceCalls
from valhalla.sdk.groups import AsyncGroup, Group
from valhalla.sdk.models import Page
from valhalla.sdk.paging import apages, pages
from valhalla.sdk.wire import Request, params, present, segment

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client

_ALERTS: Final = "/system/alerts"
Severity = Literal["info", "warning", "error", "critical"]
Status = Literal["open", "acknowledged", "resolved"]


class Alert(Model, frozen=True, kw_only=True):
    """All occurrences with one fingerprint; ``count`` and ``first_at`` are of all its episodes."""

    id: str
    name: str
    status: str
    severity: str
    title: str = ""
    fingerprint: str = ""
    source: str = ""
    labels: dict[str, str] = {}
    context: dict[str, Any] = {}
    count: int = 1
    episodes: int = 1
    escalations: int = 0
    first_at: datetime | None = None
    opened_at: datetime | None = None
    last_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    note: str | None = None
    silenced_by: tuple[str, ...] = ()


class Raised(Model, frozen=True, kw_only=True):
    """What became of an alert; ``alert`` is absent when a rule mutes it or waits for more of it."""

    alert: Alert | None = None


class Silence(Model, frozen=True, kw_only=True):
    """Alerts that fit its matchers are told to nobody until ``ends_at``."""

    id: str
    state: str
    matchers: tuple[dict[str, Any], ...] = ()
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    created_by: str = ""
    reason: str = ""


class Outcome(Model, frozen=True, kw_only=True):
    """How many alerts fitted, and which were or would be changed."""

    matched: int
    changed: int
    ids: tuple[str, ...] = ()
    dry_run: bool = False


def raise_alert(
    name: str,
    *,
    severity: Severity = "error",
    title: str | None = None,
    source: str | None = None,
    labels: Mapping[str, str] | None = None,
    context: Mapping[str, Any] | None = None,
) -> Request[Raised]:
    """Raise an alert, or count one more occurrence."""
    body = present(name=name, severity=severity, title=title, source=source, labels=labels, context=context)
    return Request("POST", _ALERTS, Raised, body=body)


def list_alerts(
    *,
    unresolved: bool = False,
    status: str | None = None,
    severity: str | None = None,
    source: str | None = None,
    name: str | None = None,
    text: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[Alert]]:
    """One page of alerts, those that were opened last first."""
    query = params(
        unresolved=unresolved,
        status=status,
        severity=severity,
        source=source,
        name=name,
        text=text,
        limit=limit,
        cursor=cursor,
    )
    return Request("GET", _ALERTS, Page[Alert], params=query)


def get_alert(ref: str) -> Request[Alert]:
    """One alert by id or fingerprint."""
    return Request("GET", f"{_ALERTS}/{segment(ref)}", Alert)


def move_alert(ref: str, verb: Literal["acknowledge", "resolve"], note: str | None = None) -> Request[Alert]:
    """Acknowledge or resolve one."""
    return Request("POST", f"{_ALERTS}/{segment(ref)}/{verb}", Alert, body=present(note=note))


def move_alerts(
    verb: Literal["acknowledge", "resolve"],
    *,
    note: str | None = None,
    dry_run: bool = False,
    **wanted: Any,
) -> Request[Outcome]:
    """Acknowledge or resolve all that fit: ``status``, ``severity`` (lists), ``source``, ``name``, ``text``."""
    body = present(action=verb, filter=present(**wanted), note=note)
    return Request("POST", f"{_ALERTS}/bulk", Outcome, params=params(dry_run=dry_run), body=body)


def silence_alert(ref: str, until: datetime, reason: str) -> Request[Silence]:
    """Tell nobody of one alert until then."""
    body = {"until": until, "reason": reason}
    return Request("POST", f"{_ALERTS}/{segment(ref)}/silence", Silence, body=body)


def end_silence(silence_id: str) -> Request[Silence]:
    """End a silence now."""
    return Request("DELETE", f"{_ALERTS}/silences/{segment(silence_id)}", Silence)


class Alerts(Group, SilenceCalls):
    """Alerts. Rules and subscriptions are registries: ``client.registry("/system/alerts/rules")``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def raise_(
        self,
        name: str,
        severity: Severity = "error",
        *,
        title: str | None = None,
        source: str | None = None,
        labels: Mapping[str, str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Alert | None:
        """Raise an alert; equal source, name and labels are one. None when a rule mutes it or waits for more."""
        request = raise_alert(name, severity=severity, title=title, source=source, labels=labels, context=context)
        return self._client.send(request).alert

    def iterate(self, *, unresolved: bool = True, severity: Severity | None = None, **filters: str) -> Iterator[Alert]:
        """Every alert that is not over, or with ``unresolved=False`` all; also by source, name, text and status."""
        return pages(
            self._client.send,
            lambda cursor: list_alerts(unresolved=unresolved, severity=severity, limit=100, cursor=cursor, **filters),
        )

    def get(self, ref: str) -> Alert:
        """Return an alert by id or fingerprint."""
        return self._client.send(get_alert(ref))

    def acknowledge(self, ref: str, *, note: str | None = None) -> Alert:
        """Look after it: it escalates no more."""
        return self._client.send(move_alert(ref, "acknowledge", note))

    def resolve(self, ref: str, *, note: str | None = None) -> Alert:
        """Say that it is over; when it happens again it is opened again."""
        return self._client.send(move_alert(ref, "resolve", note))

    def bulk(
        self, verb: Literal["acknowledge", "resolve"], *, note: str | None = None, dry_run: bool = False, **wanted: Any
    ) -> Outcome:
        """Do it to all that fit ``status``, ``severity`` (lists), ``source``, ``name`` and ``text``."""
        return self._client.send(move_alerts(verb, note=note, dry_run=dry_run, **wanted))

    def silence(self, ref: str, duration: timedelta, *, reason: str) -> Silence:
        """Tell nobody of one alert for a while."""
        return self._client.send(silence_alert(ref, datetime.now(UTC) + duration, reason))

    def end_silence(self, silence_id: str) -> Silence:
        """End a silence now."""
        return self._client.send(end_silence(silence_id))


class AsyncAlerts(AsyncGroup, SilenceCalls):
    """Alerts. Rules and subscriptions are registries: ``client.registry("/system/alerts/rules")``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def raise_(
        self,
        name: str,
        severity: Severity = "error",
        *,
        title: str | None = None,
        source: str | None = None,
        labels: Mapping[str, str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Alert | None:
        """Raise an alert; equal source, name and labels are one. None when a rule mutes it or waits for more."""
        request = raise_alert(name, severity=severity, title=title, source=source, labels=labels, context=context)
        return (await self._client.send(request)).alert

    def iterate(
        self, *, unresolved: bool = True, severity: Severity | None = None, **filters: str
    ) -> AsyncIterator[Alert]:
        """Every alert that is not over, or with ``unresolved=False`` all; also by source, name, text and status."""
        return apages(
            self._client.send,
            lambda cursor: list_alerts(unresolved=unresolved, severity=severity, limit=100, cursor=cursor, **filters),
        )

    async def get(self, ref: str) -> Alert:
        """Return an alert by id or fingerprint."""
        return await self._client.send(get_alert(ref))

    async def acknowledge(self, ref: str, *, note: str | None = None) -> Alert:
        """Look after it: it escalates no more."""
        return await self._client.send(move_alert(ref, "acknowledge", note))

    async def resolve(self, ref: str, *, note: str | None = None) -> Alert:
        """Say that it is over; when it happens again it is opened again."""
        return await self._client.send(move_alert(ref, "resolve", note))

    async def bulk(
        self, verb: Literal["acknowledge", "resolve"], *, note: str | None = None, dry_run: bool = False, **wanted: Any
    ) -> Outcome:
        """Do it to all that fit ``status``, ``severity`` (lists), ``source``, ``name`` and ``text``."""
        return await self._client.send(move_alerts(verb, note=note, dry_run=dry_run, **wanted))

    async def silence(self, ref: str, duration: timedelta, *, reason: str) -> Silence:
        """Tell nobody of one alert for a while."""
        return await self._client.send(silence_alert(ref, datetime.now(UTC) + duration, reason))

    async def end_silence(self, silence_id: str) -> Silence:
        """End a silence now."""
        return await self._client.send(end_silence(silence_id))
