"""Exports of data: ask for them, follow them, fetch their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Every, Group
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]


def page(
    *, status: str | None = None, source: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Request[Page[Document]]:
    """List exports of what the key may read, the newest first."""
    return Request(
        "GET",
        "/system/exports",
        Page[Document],
        params=params(status=status, source=source, limit=limit, cursor=cursor),
    )


def ask(body: Mapping[str, Any]) -> Request[Document]:
    """Have a job write files. The answer comes at once; follow its ``Location``, or the topic ``export.<id>``."""
    return Request("POST", "/system/exports", Document, body=body)


def sources() -> Request[Document]:
    """List what can be exported, with the scope that it needs."""
    return Request("GET", "/system/exports/sources", Document)


def show(export_id: str) -> Request[Document]:
    """Show one export: how far it is, and when it is completed its manifest."""
    return Request("GET", f"/system/exports/{segment(export_id)}", Document)


def cancel(export_id: str) -> Request[Document]:
    """End an export that is not finished; what it wrote is removed."""
    return Request("POST", f"/system/exports/{segment(export_id)}/cancel", Document)


def links(export_id: str, body: Mapping[str, Any]) -> Request[Document]:
    """Make addresses that give the files to whoever has them, for a while, without a key."""
    return Request("POST", f"/system/exports/{segment(export_id)}/links", Document, body=body)


def fetch(export_id: str, name: str) -> Request[bytes]:
    """Fetch a file of a completed export; ``Range`` goes on with what was interrupted."""
    return Request("GET", f"/system/exports/{segment(export_id)}/files/{segment(name)}", bytes, timeout=600)


class _Exports:
    """What both kinds of client have."""

    iterate = Every(page)
    page = Call(page)
    ask = Call(ask)
    sources = Call(sources)
    show = Call(show)
    cancel = Call(cancel)
    links = Call(links)
    fetch = Call(fetch)


class Exports(Group, _Exports):
    """Exports of data: ask for them, follow them, fetch their files."""


class AsyncExports(AsyncGroup, _Exports):
    """Exports of data: ask for them, follow them, fetch their files."""
