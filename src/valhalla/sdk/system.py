"""The control plane itself: how it is, what it says of its problems, what gates follow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Every, Group
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]
_NEWS: Any = Document | None
# nothing changed in time
_SAME = frozenset({304})


def live() -> Request[Document]:
    """Answer while the process runs."""
    return Request("GET", "/live", Document)


def metrics() -> Request[bytes]:
    """Render the metrics for Prometheus."""
    return Request("GET", "/metrics", bytes)


def check(check: str) -> Request[Document]:
    """Ask one check, critical or not."""
    return Request("GET", f"/readyz/{segment(check)}", Document)


def health() -> Request[Document]:
    """Say how everything is now, with the last sample of each control plane."""
    return Request("GET", "/system/health", Document)


def health_history(
    *, from_: datetime | None = None, to: datetime | None = None, step: float | None = None, source: str | None = None
) -> Request[Document]:
    """Show the numbers of the last days: of each process the last sample in each step."""
    return Request(
        "GET", "/system/health/history", Document, params=params(**{"from": from_}, to=to, step=step, source=source)
    )


def route_changes(*, limit: int | None = None, cursor: str | None = None) -> Request[Page[Document]]:
    """List the boots that served other routes than the one before, newest first."""
    return Request("GET", "/system/routes/changes", Page[Document], params=params(limit=limit, cursor=cursor))


def problem(code: str) -> Request[Document]:
    """Explain a problem's code, as a page to whoever asks for ``text/html``."""
    return Request("GET", f"/problems/{segment(code)}", Document)


def snapshot(*, watch: str | None = None, wait: float | None = None) -> Request[Document | None]:
    """Give keys (hashed), limits and maintenance; with ``watch`` what changed, when something has."""
    return Request(
        "GET",
        "/system/snapshot",
        _NEWS,
        params=params(watch=watch, wait=wait),
        accept=_SAME,
        timeout=None if wait is None else wait + 10,
    )


def blocked(*, after: str | None = None, since: int | None = None, wait: float | None = None) -> Request[Document]:
    """Give the blocklist as gates take it: pages by key; with ``since`` what changed, as soon as it does."""
    return Request(
        "GET",
        "/system/snapshot/blocklist",
        Document,
        params=params(after=after, since=since, wait=wait),
        timeout=None if wait is None else wait + 10,
    )


def applications(
    *, state: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Request[Page[Document]]:
    """List the processes of applications that follow the control plane, and which rules each cannot enforce."""
    query = params(state=state, limit=limit, cursor=cursor)
    return Request("GET", "/system/applications", Page[Document], params=query)


def report(body: Mapping[str, Any]) -> Request[None]:
    """Say how well a process of an application follows, and which rules it cannot enforce."""
    return Request("POST", "/system/snapshot/applications", type(None), body=body)


class _System:
    """What both kinds of client have."""

    live = Call(live)
    metrics = Call(metrics)
    check = Call(check)
    health = Call(health)
    health_history = Call(health_history)
    iterate_route_changes = Every(route_changes)
    route_changes = Call(route_changes)
    problem = Call(problem)
    snapshot = Call(snapshot)
    blocked = Call(blocked)
    iterate_applications = Every(applications)
    applications = Call(applications)
    report = Call(report)


class System(Group, _System):
    """The control plane itself: how it is, what it says of its problems, what gates follow."""


class AsyncSystem(AsyncGroup, _System):
    """The control plane itself: how it is, what it says of its problems, what gates follow."""
