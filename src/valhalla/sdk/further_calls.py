"""Calls that belong to groups with methods of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from valhalla.sdk.groups import Call
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]
_SILENCES = "/system/alerts/silences"


def silences(*, expired: bool = False) -> Request[Document]:
    """List silences; with ``expired`` also those that have ended."""
    return Request("GET", _SILENCES, Document, params=params(expired=expired))


def make_silence(body: Mapping[str, Any]) -> Request[Document]:
    """Tell nobody of the alerts that fit ``matchers`` ``until`` then."""
    return Request("POST", _SILENCES, Document, body=body)


def show_silence(silence_id: str) -> Request[Document]:
    """Show one silence."""
    return Request("GET", f"{_SILENCES}/{segment(silence_id)}", Document)


def jobs_bulk(body: Mapping[str, Any]) -> Request[Document]:
    """Do the same with many jobs."""
    return Request("POST", "/system/jobs/bulk", Document, body=body)


def admin_action(name: str) -> Request[Document]:
    """Show one admin action, with the JSON Schema of its arguments."""
    return Request("GET", f"/system/admin/actions/{segment(name)}", Document)


def handouts() -> Request[Document]:
    """List the secrets that wait for you, such as keys that were rotated; not the secrets themselves."""
    return Request("GET", "/system/admin/handouts", Document)


def take_handout(handout_id: str) -> Request[Document]:
    """Take one secret, once: ``secret`` of what this returns."""
    return Request("POST", f"/system/admin/handouts/{segment(handout_id)}", Document)


def log_page(
    *, limit: int | None = None, cursor: str | None = None, text: str | None = None
) -> Request[Page[Document]]:
    """One page of log lines; ``search`` has every filter."""
    return Request("GET", "/system/logs", Page[Document], params=params(limit=limit, cursor=cursor, text=text))


def tables(ref: str) -> Request[list[Document]]:
    """The tables of a sandbox's Postgres slice."""
    return Request("GET", f"/api/sandboxes/{segment(ref)}/tables", list[Document])


def publish(events: Sequence[Mapping[str, Any]]) -> Request[list[Document]]:
    """Publish events, each on the lane of its key; all are stored when this answers."""
    return Request("POST", "/api/events", list[Document], body={"events": [dict(event) for event in events]})


class PublishCalls:
    """Events of programs, on the lanes of their keys."""

    publish = Call(publish)


class SilenceCalls:
    """Silences of alerts."""

    silences = Call(silences)
    make_silence = Call(make_silence)
    show_silence = Call(show_silence)


class JobCalls:
    """Many jobs at once."""

    bulk = Call(jobs_bulk)


class AdminCalls:
    """Single admin actions, and the secrets that some make."""

    action = Call(admin_action)
    handouts = Call(handouts)
    take_handout = Call(take_handout)


class LogCalls:
    """Log lines page by page."""

    page = Call(log_page)
