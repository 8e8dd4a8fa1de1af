"""Notifications: send them, see what became of them, try channels."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Every, Group
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]


def _ask(method: str, path: str = "", body: Mapping[str, Any] | None = None, **query: object) -> Request[Document]:
    return Request(method, f"/system/notify{path}", Document, params=params(**query), body=body)


def status() -> Request[Document]:
    """Show how every channel fares and what waits for it."""
    return _ask("GET")


def send(body: Mapping[str, Any]) -> Request[Document]:
    """Send a message by a channel; Location is where one sees what became of it."""
    return _ask("POST", body=body)


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
    narrowed = params(channel=channel, status=status, rule=rule, type=type_, since=since, until=until)
    return Request(
        "GET", "/system/notify/deliveries", Page[Document], params=narrowed | params(limit=limit, cursor=cursor)
    )


def replay_many(body: Mapping[str, Any] | None = None, *, dry_run: bool | None = None) -> Request[Document]:
    """Let dead deliveries begin again, oldest first and 1,000 at once: those that are named, that fit, or all."""
    return _ask("POST", "/deliveries/replay", body or {}, dry_run=dry_run)


def delivery(delivery: str) -> Request[Document]:
    """Show a delivery with what it tells and every attempt."""
    return _ask("GET", f"/deliveries/{segment(delivery)}")


def replay(delivery: str) -> Request[Document]:
    """Let a dead delivery begin again, under its id."""
    return _ask("POST", f"/deliveries/{segment(delivery)}/replay")


def test_channel(name: str) -> Request[Document]:
    """Send a test message now, past the queue, and say what came of it."""
    return _ask("POST", f"/channels/{segment(name)}/test")


def resume_channel(name: str) -> Request[Document]:
    """Forget that the channel failed, and try at once what waits for its next attempt."""
    return _ask("POST", f"/channels/{segment(name)}/resume")


def rotate_secret(name: str, *, at_once: bool | None = None) -> Request[Document]:
    """Make a new signing secret and tell it, this once."""
    return _ask("POST", f"/channels/{segment(name)}/secret", at_once=at_once)


def keys(name: str) -> Request[Document]:
    """Show what receivers verify with."""
    return _ask("GET", f"/channels/{segment(name)}/keys")


def test_rules(body: Mapping[str, Any]) -> Request[Document]:
    """Say what the rules would make of an event. Nothing is sent."""
    return _ask("POST", "/rules/test", body)


def preview(body: Mapping[str, Any]) -> Request[Document]:
    """Render a template with an event, as it would be sent; nothing is sent."""
    return _ask("POST", "/templates/preview", body)


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
