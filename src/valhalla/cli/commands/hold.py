"""``valhalla hold``: guarded actions that wait for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say, table
from valhalla.cli.text import instant_of, printable, relative

if TYPE_CHECKING:
    from valhalla.sdk.holds import Hold
    from valhalla.sdk.wire import Request

_REASON = click.option("-r", "--reason", help="Why; it is kept in the ledger.")


@click.group("hold")
@shared_options
def command() -> None:
    """Look at guarded actions that wait, and approve or deny them.

    \b
    Example:
      valhalla hold ls
      valhalla hold approve k3v9x0q2m1n8b7c6 --reason "seen the order"
    """


@command.command("ls")
@click.option("--kind", type=click.Choice(["open", "approved", "indeterminate", "all"]), default="open")
@click.option("--action", help="Only this action.")
@click.option("--requester", help="Only what this one asked for.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def ls(invocation: Invocation, limit: int, **filters: Any) -> None:
    """List what waits, oldest first.

    \b
    Example:
      valhalla hold ls --kind indeterminate
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk.holds import list_holds

        found = collect(client, lambda size, cursor: list_holds(limit=size, cursor=cursor, **filters), limit)
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for hold in found["items"]:
            say(hold["id"])
    elif not found["items"]:
        remark(invocation, "Nothing waits.")
    else:
        headers = ["id", "action", "state", "asked by", "waits for", "asked", "expires"]
        table(invocation, headers, [_row(hold) for hold in found["items"]])


def _row(hold: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        hold["id"],
        hold["action"],
        hold["state"],
        hold["requested_by"],
        hold.get("missing") or "",
        relative(instant_of(hold.get("created_at"))),
        relative(instant_of(hold.get("expires_at"))) if hold.get("expires_at") else "",
    )


@command.command("show")
@click.argument("hold_id", metavar="ID")
@shared_options
@pass_invocation
def show(invocation: Invocation, hold_id: str) -> None:
    """Show one action: who asked for what, who decided, who is missing.

    \b
    Example:
      valhalla hold show k3v9x0q2m1n8b7c6
    """
    with invocation.client() as client:
        from valhalla.sdk.holds import get_hold

        hold = client.document(get_hold(hold_id))
    if invocation.json:
        emit(hold)
        return
    for name in ("id", "action", "effect", "state", "requested_by", "quorum", "missing", "reason", "evidence", "key"):
        if hold.get(name) is not None:
            say(f"{name.replace('_', ' '):<13}{printable(hold[name])}")
    say(f"{'arguments':<13}{printable(json.dumps(hold.get('arguments'), ensure_ascii=False))}")
    for one in hold.get("approvals") or ():
        why = f": {printable(one['reason'])}" if one.get("reason") else ""
        say(f"{printable(one['decision']):<13}{printable(one['by'])} {relative(instant_of(one['at']))}{why}")


@command.command("approve")
@click.argument("hold_id", metavar="ID")
@_REASON
@shared_options
@pass_invocation
def approve(invocation: Invocation, hold_id: str, reason: str | None) -> None:
    """Approve. With the last approval that is needed a worker runs the action, once.

    \b
    Example:
      valhalla hold approve k3v9x0q2m1n8b7c6 --reason "seen the order"
    """
    _decide(invocation, hold_id, "approve", reason)


@command.command("deny")
@click.argument("hold_id", metavar="ID")
@_REASON
@shared_options
@pass_invocation
def deny(invocation: Invocation, hold_id: str, reason: str | None) -> None:
    """Deny: one person whose role is asked for is enough.

    \b
    Example:
      valhalla hold deny k3v9x0q2m1n8b7c6 --reason "wrong account"
    """
    _decide(invocation, hold_id, "deny", reason)


@command.command("cancel")
@click.argument("hold_id", metavar="ID")
@_REASON
@shared_options
@pass_invocation
def cancel(invocation: Invocation, hold_id: str, reason: str | None) -> None:
    """Take an open hold back, also an approved one that no worker took yet.

    \b
    Example:
      valhalla hold cancel k3v9x0q2m1n8b7c6
    """
    from valhalla.sdk.holds import cancel_hold

    _send(invocation, cancel_hold(hold_id, reason=reason))


def _decide(invocation: Invocation, hold_id: str, verb: Literal["approve", "deny"], reason: str | None) -> None:
    from valhalla.sdk.holds import decide_hold

    _send(invocation, decide_hold(hold_id, verb, reason=reason))


def _send(invocation: Invocation, request: Request[Hold]) -> None:
    with invocation.client() as client:
        hold = client.document(request)
    if invocation.json:
        emit(hold)
        return
    waits = f", waits for {printable(hold['missing'])}" if hold.get("missing") else ""
    say(printable(hold["id"]) if invocation.quiet else f"{printable(hold['state'])}: {printable(hold['id'])}{waits}")
