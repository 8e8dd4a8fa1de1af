"""Guarded actions that wait for people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from valhalla.sdk.access import Model
from valhalla.sdk.models import Page
from valhalla.sdk.paging import apages, pages
from valhalla.sdk.wire import Request, params, present, segment

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client

_HOLDS = "/system/holds"
Kind = Literal["open", "approved", "indeterminate", "all"]


class Decision(Model, frozen=True, kw_only=True):
    """One person's decision."""

    step: int
    by: str
    decision: str
    at: datetime
    reason: str | None = None


class Hold(Model, frozen=True, kw_only=True):
    """A guarded action that waits, or waited, for people. ``missing`` says whose approval it waits for now."""

    id: str
    action: str
    state: str
    requested_by: str
    effect: str = ""
    key: str | None = None
    reason: str | None = None
    evidence: str | None = None
    quorum: str | None = None
    missing: str | None = None
    approvals: tuple[Decision, ...] = ()
    arguments: Any = None
    plan: tuple[dict[str, Any], ...] | None = None
    parent: str | None = None
    fingerprint: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    expires_at: datetime | None = None
    correlation_id: str | None = None


def list_holds(
    *,
    kind: Kind = "open",
    action: str | None = None,
    requester: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Request[Page[Hold]]:
    """One page of what waits, oldest first."""
    query = params(kind=kind, action=action, requester=requester, limit=limit, cursor=cursor)
    return Request("GET", _HOLDS, Page[Hold], params=query)


def get_hold(hold_id: str) -> Request[Hold]:
    """One action."""
    return Request("GET", f"{_HOLDS}/{segment(hold_id)}", Hold)


def review_hold(hold_id: str) -> Request[dict[str, Any]]:
    """What was proposed last under the same name, and which arguments differ from it."""
    return Request("GET", f"{_HOLDS}/{segment(hold_id)}/review", dict[str, Any])


def decide_hold(
    hold_id: str, verb: Literal["approve", "deny"], *, reason: str | None = None, fingerprint: str | None = None
) -> Request[Hold]:
    """Add a decision; ``fingerprint`` binds it to the arguments that were looked at."""
    body = present(reason=reason, fingerprint=fingerprint)
    return Request("POST", f"{_HOLDS}/{segment(hold_id)}/{verb}", Hold, body=body)


def cancel_hold(hold_id: str, *, reason: str | None = None) -> Request[Hold]:
    """Take a hold back."""
    return Request("POST", f"{_HOLDS}/{segment(hold_id)}/cancel", Hold, body=present(reason=reason))


def settle_hold(hold_id: str, outcome: str, *, evidence: str) -> Request[Hold]:
    """Say what became of an action of which nobody knew."""
    body = {"outcome": outcome, "evidence": evidence}
    return Request("POST", f"{_HOLDS}/{segment(hold_id)}/settle", Hold, body=body)


class Holds:
    """Guarded actions that wait for people. Each method raises ``ApiProblem`` with the guard's own code."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def iterate(
        self, kind: Kind = "open", *, action: str | None = None, requester: str | None = None
    ) -> Iterator[Hold]:
        """Everything that waits, page after page."""
        return pages(
            self._client.send,
            lambda cursor: list_holds(kind=kind, action=action, requester=requester, limit=100, cursor=cursor),
        )

    def get(self, hold_id: str) -> Hold:
        """Return one action."""
        return self._client.send(get_hold(hold_id))

    def review(self, hold_id: str) -> dict[str, Any]:
        """Return what was proposed last under the same name, and which arguments differ from it."""
        return self._client.send(review_hold(hold_id))

    def approve(self, hold: Hold | str, *, reason: str | None = None) -> Hold:
        """Approve; given the ``Hold`` that was looked at, only if it still stands for the same arguments."""
        return self._client.send(_decision(hold, "approve", reason))

    def deny(self, hold: Hold | str, *, reason: str | None = None) -> Hold:
        """Deny; one person with a role of the quorum is enough."""
        return self._client.send(_decision(hold, "deny", reason))

    def cancel(self, hold_id: str, *, reason: str | None = None) -> Hold:
        """Take a hold back."""
        return self._client.send(cancel_hold(hold_id, reason=reason))

    def settle(self, hold_id: str, outcome: Literal["succeeded", "failed", "not_done"], *, evidence: str) -> Hold:
        """Say what became of an action of which nobody knew."""
        return self._client.send(settle_hold(hold_id, outcome, evidence=evidence))


class AsyncHolds:
    """Guarded actions that wait for people. Each method raises ``ApiProblem`` with the guard's own code."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    def iterate(
        self, kind: Kind = "open", *, action: str | None = None, requester: str | None = None
    ) -> AsyncIterator[Hold]:
        """Everything that waits, page after page."""
        return apages(
            self._client.send,
            lambda cursor: list_holds(kind=kind, action=action, requester=requester, limit=100, cursor=cursor),
        )

    async def get(self, hold_id: str) -> Hold:
        """Return one action."""
        return await self._client.send(get_hold(hold_id))

    async def review(self, hold_id: str) -> dict[str, Any]:
        """Return what was proposed last under the same name, and which arguments differ from it."""
        return await self._client.send(review_hold(hold_id))

    async def approve(self, hold: Hold | str, *, reason: str | None = None) -> Hold:
        """Approve; given the ``Hold`` that was looked at, only if it still stands for the same arguments."""
        return await self._client.send(_decision(hold, "approve", reason))

    async def deny(self, hold: Hold | str, *, reason: str | None = None) -> Hold:
        """Deny; one person with a role of the quorum is enough."""
        return await self._client.send(_decision(hold, "deny", reason))

    async def cancel(self, hold_id: str, *, reason: str | None = None) -> Hold:
        """Take a hold back."""
        return await self._client.send(cancel_hold(hold_id, reason=reason))

    async def settle(self, hold_id: str, outcome: Literal["succeeded", "failed", "not_done"], *, evidence: str) -> Hold:
        """Say what became of an action of which nobody knew."""
        return await self._client.send(settle_hold(hold_id, outcome, evidence=evidence))


def _decision(hold: Hold | str, verb: Literal["approve", "deny"], reason: str | None) -> Request[Hold]:
    if isinstance(hold, str):
        return decide_hold(hold, verb, reason=reason)
    return decide_hold(hold.id, verb, reason=reason, fingerprint=hold.fingerprint)
