"""Security actions that others approve, with their discussion and evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Every, Group
from valhalla.sdk.models import Page
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]


def page(
    *,
    kind: str | None = None,
    type_: str | None = None,
    requester: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[Document]]:
    """List actions."""
    return Request(
        "GET",
        "/system/security/actions",
        Page[Document],
        params=params(kind=kind, type=type_, requester=requester, limit=limit, cursor=cursor),
    )


def ask(body: Mapping[str, Any]) -> Request[Document]:
    """Ask for an action. It waits for who must approve, and a worker executes what was approved, once."""
    return Request("POST", "/system/security/actions", Document, body=body)


def types() -> Request[Document]:
    """List what can be asked for, with the JSON Schemas of the payloads."""
    return Request("GET", "/system/security/actions/types", Document)


def show(action_id: str) -> Request[Document]:
    """Show one action: who asked for what and why, who decided, who is missing."""
    return Request("GET", f"/system/security/actions/{segment(action_id)}", Document)


def approvals(action_id: str) -> Request[Document]:
    """List who decided what, in order."""
    return Request("GET", f"/system/security/actions/{segment(action_id)}/approvals", Document)


def approve(action_id: str, body: Mapping[str, Any]) -> Request[Document]:
    """Approve the stage that is open. Nobody approves the own request, nor twice with several keys."""
    return Request("POST", f"/system/security/actions/{segment(action_id)}/approve", Document, body=body)


def deny(action_id: str, body: Mapping[str, Any]) -> Request[Document]:
    """Deny: one person whom a stage that is not complete names is enough."""
    return Request("POST", f"/system/security/actions/{segment(action_id)}/deny", Document, body=body)


def cancel(action_id: str, body: Mapping[str, Any]) -> Request[Document]:
    """Take back a request that was not executed: who asked, or who may approve."""
    return Request("POST", f"/system/security/actions/{segment(action_id)}/cancel", Document, body=body)


def comments(action_id: str, *, after: int | None = None, limit: int | None = None) -> Request[Document]:
    """List the comments, oldest first."""
    return Request(
        "GET",
        f"/system/security/actions/{segment(action_id)}/comments",
        Document,
        params=params(after=after, limit=limit),
    )


def comment(action_id: str, body: Mapping[str, Any]) -> Request[Document]:
    """Add a comment."""
    return Request("POST", f"/system/security/actions/{segment(action_id)}/comments", Document, body=body)


def evidence(action_id: str, *, after: int | None = None, limit: int | None = None) -> Request[Document]:
    """List the evidence, oldest first, without contents."""
    return Request(
        "GET",
        f"/system/security/actions/{segment(action_id)}/evidence",
        Document,
        params=params(after=after, limit=limit),
    )


def bring(action_id: str, body: Mapping[str, Any]) -> Request[Document]:
    """Add a piece of evidence: up to ten of 256 KiB."""
    return Request("POST", f"/system/security/actions/{segment(action_id)}/evidence", Document, body=body)


def fetch(action_id: str, note_id: str) -> Request[bytes]:
    """Download a piece of evidence. It is what somebody sent: never shown in place."""
    return Request("GET", f"/system/security/actions/{segment(action_id)}/evidence/{segment(note_id)}", bytes)


class _SecurityActions:
    """What both kinds of client have."""

    iterate = Every(page)
    page = Call(page)
    ask = Call(ask)
    types = Call(types)
    show = Call(show)
    approvals = Call(approvals)
    approve = Call(approve)
    deny = Call(deny)
    cancel = Call(cancel)
    comments = Call(comments)
    comment = Call(comment)
    evidence = Call(evidence)
    bring = Call(bring)
    fetch = Call(fetch)


class SecurityActions(Group, _SecurityActions):
    """Security actions that others approve, with their discussion and evidence."""


class AsyncSecurityActions(AsyncGroup, _SecurityActions):
    """Security actions that others approve, with their discussion and evidence."""
