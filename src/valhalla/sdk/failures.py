"""Unexpected errors by kind, with count and traceback."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Every, Group
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]


def page(
    *,
    status: str | None = None,
    kind: str | None = None,
    route: str | None = None,
    text: str | None = None,
    since: datetime | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[Document]]:
    """List what nobody expected; an error that repeats is one item."""
    return Request(
        "GET",
        "/system/errors",
        Page[Document],
        params=params(status=status, kind=kind, route=route, text=text, since=since, limit=limit, cursor=cursor),
    )


def show(error_id: str) -> Request[Document]:
    """Show one error with a traceback."""
    return Request("GET", f"/system/errors/{segment(error_id)}", Document)


def resolve(error_id: str, body: Mapping[str, Any] | None = None) -> Request[Document]:
    """Say that it is mended; if it happens again it is open again, and told again."""
    return Request("POST", f"/system/errors/{segment(error_id)}/resolve", Document, body=body or {})


def mute(error_id: str, body: Mapping[str, Any] | None = None) -> Request[Document]:
    """Count it and say nothing of it."""
    return Request("POST", f"/system/errors/{segment(error_id)}/mute", Document, body=body or {})


def reopen(error_id: str, body: Mapping[str, Any] | None = None) -> Request[Document]:
    """Look at it again."""
    return Request("POST", f"/system/errors/{segment(error_id)}/reopen", Document, body=body or {})


class _Failures:
    """What both kinds of client have."""

    iterate = Every(page)
    page = Call(page)
    show = Call(show)
    resolve = Call(resolve)
    mute = Call(mute)
    reopen = Call(reopen)


class Failures(Group, _Failures):
    """Unexpected errors by kind, with count and traceback."""


class AsyncFailures(AsyncGroup, _Failures):
    """Unexpected errors by kind, with count and traceback."""
