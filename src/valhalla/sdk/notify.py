"""Notifications: send them, see what became of them, try channels."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Every, Group
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]


def status() -> Request[Document]:
    """Show how every channel fares and what waits for it."""
    return Request("GET", "/system/notify", Document)


def send(body: Mapping[str, Any]) -> Request[Document]:
    """Send a message by a channel; Location is where one sees what became of it."""
    return Request("POST", "/system/notify", Document, body=body)


def page(
    *,
    channel: str | None = None,
    status: str | None = None,
    rule: str | None = None,
    type_: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[Document]]:
    """List deliveries, the newest first."""
    return Request(
        "GET",
        "/system/notify/deliveries",
        Page[Document],
        params=params(
            channel=channel,
            status=status,
            rule=rule,
            type=type_,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
        ),
    )


def replay_many(body: Mapping[str, Any] | None = None, *, dry_run: bool | None = None) -> Request[Document]:
    """Let dead deliveries begin again, oldest first and 1,000 at once: those that are named, that fit, or all."""
    return Request(
        "POST", "/system/notify/deliveries/replay", Document, params=params(dry_run=dry_run), body=body or {}
    )


def delivery(delivery: str) -> Request[Document]:
    """Show a delivery with what it tells and every attempt."""
    return Request("GET", f"/system/notify/deliveries/{segment(delivery)}", Document)


def replay(delivery: str) -> Request[Document]:
    """Let a dead delivery begin again, under its id."""
    return Request("POST", f"/system/notify/deliveries/{segment(delivery)}/replay", Document)


def test_channel(name: str) -> Request[Document]:
    """Send a test message now, past the queue, and say what came of it."""
    return Request("POST", f"/system/notify/channels/{segment(name)}/test", Document)


def resume_channel(name: str) -> Request[Document]:
    """Forget that the channel failed, and try at once what waits for its next attempt."""
    return Request("POST", f"/system/notify/channels/{segment(name)}/resume", Document)


def rotate_secret(name: str, *, at_once: bool | None = None) -> Request[Document]:
    """Make a new signing secret and tell it, this once."""
    return Request("POST", f"/system/notify/channels/{segment(name)}/secret", Document, params=params(at_once=at_once))


def keys(name: str) -> Request[Document]:
    """Show what receivers verify with."""
    return Request("GET", f"/system/notify/channels/{segment(name)}/keys", Document)


def test_rules(body: Mapping[str, Any]) -> Request[Document]:
    """Say what the rules would make of an event. Nothing is sent."""
    return Request("POST", "/system/notify/rules/test", Document, body=body)


def preview(body: Mapping[str, Any]) -> Request[Document]:
    """Render a template with an event, as it would be sent; nothing is sent."""
    return Request("POST", "/system/notify/templates/preview", Document, body=body)


class _Notifications:
    """What both kinds of client have."""

    status = Call(status)
    send = Call(send)
    iterate = Every(page)
    page = Call(page)
    replay_many = Call(replay_many)
    delivery = Call(delivery)
    replay = Call(replay)
    test_channel = Call(test_channel)
    resume_channel = Call(resume_channel)
    rotate_secret = Call(rotate_secret)
    keys = Call(keys)
    test_rules = Call(test_rules)
    preview = Call(preview)


class Notifications(Group, _Notifications):
    """Notifications: send them, see what became of them, try channels."""


class AsyncNotifications(AsyncGroup, _Notifications):
    """Notifications: send them, see what became of them, try channels."""
