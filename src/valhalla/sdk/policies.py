"""Policies of security, and the mode that they know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Every, Group
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params

Document = dict[str, Any]


def usage() -> Request[Document]:
    """Say what became of each policy in this process, shadows included."""
    return Request("GET", "/system/security/policies/usage", Document)


def test(body: Mapping[str, Any]) -> Request[Document]:
    """Say what the policies would make of a request, or of what a honeypot caught. Nothing is done or counted."""
    return Request("POST", "/system/security/policies/test", Document, body=body)


def mode() -> Request[Document]:
    """Say which mode holds, and when it falls back."""
    return Request("GET", "/system/security/mode", Document)


def set_mode(body: Mapping[str, Any], *, dry_run: bool | None = None, reason: str | None = None) -> Request[Document]:
    """Raise the mode for a while, or end that: here when this answers, elsewhere within milliseconds."""
    return Request("POST", "/system/security/mode", Document, params=params(dry_run=dry_run, reason=reason), body=body)


def mode_history(*, limit: int | None = None, cursor: str | None = None) -> Request[Page[Document]]:
    """Tell who or what set which mode, newest first."""
    return Request("GET", "/system/security/mode/history", Page[Document], params=params(limit=limit, cursor=cursor))


def dashboard() -> Request[Document]:
    """Show what security looks like now, as far as the key may know it."""
    return Request("GET", "/system/security/dashboard", Document)


class _Policies:
    """What both kinds of client have."""

    dashboard = Call(dashboard)

    usage = Call(usage)
    test = Call(test)
    mode = Call(mode)
    set_mode = Call(set_mode)
    iterate_mode_history = Every(mode_history)
    mode_history = Call(mode_history)


class Policies(Group, _Policies):
    """Policies of security, and the mode that they know."""


class AsyncPolicies(AsyncGroup, _Policies):
    """Policies of security, and the mode that they know."""
