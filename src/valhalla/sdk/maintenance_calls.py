"""What else there is to ask of maintenance."""

from __future__ import annotations

from typing import Any

from valhalla.sdk.groups import Call, Every
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params

Document = dict[str, Any]
_ROOT = "/system/maintenance"


def state() -> Request[Document]:
    """Which mode holds, and what was set."""
    return Request("GET", f"{_ROOT}/state", Document)


def history(*, limit: int | None = None, cursor: str | None = None) -> Request[Page[Document]]:
    """One page of who set which mode, newest first."""
    return Request("GET", f"{_ROOT}/state/history", Page[Document], params=params(limit=limit, cursor=cursor))


def occurrences(*, since: str | None = None, days: int | None = None) -> Request[Document]:
    """When the windows are within some days."""
    query = {**params(days=days), **({} if since is None else {"from": since})}
    return Request("GET", f"{_ROOT}/occurrences", Document, params=query)


def calendar() -> Request[bytes]:
    """The windows of the next 92 days as an iCalendar feed."""
    return Request("GET", f"{_ROOT}/calendar.ics", bytes)


class MaintenanceCalls:
    """What both kinds of client have."""

    state = Call(state)
    iterate_history = Every(history)
    history = Call(history)
    occurrences = Call(occurrences)
    calendar = Call(calendar)
