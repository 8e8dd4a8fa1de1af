"""Honeypots and decoys: keys, switches, and what they caught."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Every, Group
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]


def events(
    *,
    honeypot: str | None = None,
    kind: str | None = None,
    address: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[Document]]:
    """List what was caught, newest first; our own decoys report as the honeypot ``decoys``."""
    return Request(
        "GET",
        "/system/security/honeypots/events",
        Page[Document],
        params=params(
            honeypot=honeypot, kind=kind, address=address, since=since, until=until, limit=limit, cursor=cursor
        ),
    )


def send(body: Mapping[str, Any]) -> Request[Document]:
    """Send what a sensor of your own caught; sent again it is taken once."""
    return Request("POST", "/system/security/honeypots/events", Document, body=body)


def opencanary(body: Mapping[str, Any]) -> Request[Document]:
    """Take OpenCanary's webhook: its events as JSON, or as text under ``message``, also in a form."""
    return Request("POST", "/system/security/honeypots/events/opencanary", Document, body=body)


def cowrie(body: Mapping[str, Any]) -> Request[Document]:
    """Take lines of Cowrie's JSON log, up to 1000 at once."""
    return Request("POST", "/system/security/honeypots/events/cowrie", Document, body=body)


def activity(*, hours: int | None = None) -> Request[Document]:
    """Say what was caught lately: by kind, by honeypot, and which addresses score most."""
    return Request("GET", "/system/security/honeypots/activity", Document, params=params(hours=hours))


def deactivate(name: str) -> Request[Document]:
    """Take nothing of a sensor any more, until it is activated again."""
    return Request("POST", f"/system/security/honeypots/{segment(name)}/deactivate", Document)


def activate(name: str) -> Request[Document]:
    """Take what a sensor sends again."""
    return Request("POST", f"/system/security/honeypots/{segment(name)}/activate", Document)


def rotate(name: str, body: Mapping[str, Any]) -> Request[Document]:
    """Give a sensor a new key, shown once."""
    return Request("POST", f"/system/security/honeypots/{segment(name)}/rotate", Document, body=body)


def decoy_key(body: Mapping[str, Any]) -> Request[Document]:
    """Make a decoy API key, shown once: put it where only a thief looks. Using it is an alert and a block."""
    return Request("POST", "/system/security/decoys/keys", Document, body=body)


class _Honeypots:
    """What both kinds of client have."""

    iterate_events = Every(events)
    events = Call(events)
    send = Call(send)
    opencanary = Call(opencanary)
    cowrie = Call(cowrie)
    activity = Call(activity)
    deactivate = Call(deactivate)
    activate = Call(activate)
    rotate = Call(rotate)
    decoy_key = Call(decoy_key)


class Honeypots(Group, _Honeypots):
    """Honeypots and decoys: keys, switches, and what they caught."""


class AsyncHoneypots(AsyncGroup, _Honeypots):
    """Honeypots and decoys: keys, switches, and what they caught."""
