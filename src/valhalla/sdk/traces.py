"""Traces: list them, see one as a tree, send spans."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Every, Group
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]


def page(
    *,
    name: str | None = None,
    status: str | None = None,
    slower_than: float | None = None,
    correlation_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[Document]]:
    """List traces; ``name`` is method and route, ``slower_than`` in seconds."""
    return Request(
        "GET",
        "/system/traces",
        Page[Document],
        params=params(
            name=name,
            status=status,
            slower_than=slower_than,
            correlation_id=correlation_id,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
        ),
    )


def show(trace_id: str) -> Request[Document]:
    """Show a trace as a tree."""
    return Request("GET", f"/system/traces/{segment(trace_id)}", Document)


class _Traces:
    """What both kinds of client have."""

    iterate = Every(page)
    page = Call(page)
    show = Call(show)


class Traces(Group, _Traces):
    """Traces: list them, see one as a tree, send spans."""


class AsyncTraces(AsyncGroup, _Traces):
    """Traces: list them, see one as a tree, send spans."""
