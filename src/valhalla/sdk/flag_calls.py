"""Flags: kill and revive them, see which are stale, what was seen of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Group
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]
_NEWS: Any = Document | None
# nothing changed in time
_SAME = frozenset({304})


def stale(*, days: int | None = None) -> Request[Document]:
    """List flags that may be removed: expired, off or the same for everybody for long."""
    return Request("GET", "/system/flags/stale", Document, params=params(days=days))


def exposures() -> Request[Document]:
    """Say how often each variant was served by this process since its start."""
    return Request("GET", "/system/flags/exposures", Document)


def expose(body: Mapping[str, Any]) -> Request[Document]:
    """Take the counts of a client that evaluates by itself."""
    return Request("POST", "/system/flags/exposures", Document, body=body)


def snapshot(
    *, environment: str | None = None, watch: str | None = None, wait: float | None = None
) -> Request[Document | None]:
    """Give every definition at once to a client that evaluates by itself; 304 if nothing changed in time."""
    return Request(
        "GET",
        "/system/flags/snapshot",
        _NEWS,
        params=params(environment=environment, watch=watch, wait=wait),
        accept=_SAME,
        timeout=None if wait is None else wait + 10,
    )


def preview(body: Mapping[str, Any]) -> Request[Document]:
    """Say who would be served what by a definition, and what now. Nothing is stored or counted."""
    return Request("POST", "/system/flags/preview", Document, body=body)


def kill(key: str, body: Mapping[str, Any]) -> Request[Document]:
    """Serve one variant, or the caller's default, to everybody until the flag is revived."""
    return Request("POST", f"/system/flags/{segment(key)}/kill", Document, body=body)


def revive(key: str, *, reason: str | None = None) -> Request[Document]:
    """Serve again what the definition says."""
    return Request("DELETE", f"/system/flags/{segment(key)}/kill", Document, params=params(reason=reason))


class _FlagOperations:
    """What both kinds of client have."""

    stale = Call(stale)
    exposures = Call(exposures)
    expose = Call(expose)
    snapshot = Call(snapshot)
    preview = Call(preview)
    kill = Call(kill)
    revive = Call(revive)


class FlagOperations(Group, _FlagOperations):
    """Flags: kill and revive them, see which are stale, what was seen of them."""


class AsyncFlagOperations(AsyncGroup, _FlagOperations):
    """Flags: kill and revive them, see which are stale, what was seen of them."""
