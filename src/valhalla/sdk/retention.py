"""Retention: what is kept how long, what a purge would remove, and what purges did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Every, Group
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]


def categories() -> Request[Document]:
    """List what can be aged out: table, clock, policy or default, and the newest purge."""
    return Request("GET", "/system/retention/categories", Document)


def preview(category: str, *, days: int | None = None, keep_last: int | None = None) -> Request[Document]:
    """Say what a purge would take now. Nothing is taken."""
    return Request(
        "GET",
        f"/system/retention/categories/{segment(category)}/preview",
        Document,
        params=params(days=days, keep_last=keep_last),
    )


def purge(category: str, body: Mapping[str, Any]) -> Request[Document]:
    """Have a category purged by its policy, now. A large part of the table waits for somebody else's approval."""
    return Request("POST", f"/system/retention/categories/{segment(category)}/purge", Document, body=body)


def purges(
    *, category: str | None = None, status: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Request[Page[Document]]:
    """List purges with their proofs, the newest first."""
    return Request(
        "GET",
        "/system/retention/purges",
        Page[Document],
        params=params(category=category, status=status, limit=limit, cursor=cursor),
    )


def show(purge_id: str) -> Request[Document]:
    """Show one purge."""
    return Request("GET", f"/system/retention/purges/{segment(purge_id)}", Document)


class _Retention:
    """What both kinds of client have."""

    categories = Call(categories)
    preview = Call(preview)
    purge = Call(purge)
    iterate_purges = Every(purges)
    purges = Call(purges)
    purge_report = Call(show)


class Retention(Group, _Retention):
    """Retention: what is kept how long, what a purge would remove, and what purges did."""


class AsyncRetention(AsyncGroup, _Retention):
    """Retention: what is kept how long, what a purge would remove, and what purges did."""
