"""What was signed of the ledger, and its entries in order."""

from __future__ import annotations

from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Every, Group
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params

Document = dict[str, Any]


def checkpoints(*, limit: int | None = None, cursor: str | None = None) -> Request[Page[Document]]:
    """List what was signed of the ledger; whoever keeps one elsewhere can prove that it was not rewritten."""
    return Request("GET", "/system/audit/checkpoints", Page[Document], params=params(limit=limit, cursor=cursor))


def export(*, after: int | None = None, limit: int | None = None) -> Request[Document]:
    """List entries of the chain in its order, with what recomputes their hashes without trusting this server."""
    return Request("GET", "/system/audit/export", Document, params=params(after=after, limit=limit))


class _Ledger:
    """What both kinds of client have."""

    iterate_checkpoints = Every(checkpoints)
    checkpoints = Call(checkpoints)
    export = Call(export)


class Ledger(Group, _Ledger):
    """What was signed of the ledger, and its entries in order."""


class AsyncLedger(AsyncGroup, _Ledger):
    """What was signed of the ledger, and its entries in order."""
