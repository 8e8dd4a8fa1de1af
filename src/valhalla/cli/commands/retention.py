"""``valhalla retention``: how long data is kept, and what was purged."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, remark, say, table
from valhalla.cli.registry import registry_group
from valhalla.cli.text import instant_of, printable, relative

command = registry_group(
    "retention",
    "/system/retention/policies",
    key="category",
    columns=("days", "keep_last", "export_first", "enabled"),
    example="logs",
)


@command.command("categories")
@shared_options
@pass_invocation
def categories(invocation: Invocation) -> None:
    """Show what can be aged out, what holds for it, and its newest purge.

    \b
    Example:
      valhalla retention categories
    """
    with invocation.client() as client:
        from valhalla.sdk import retention

        found: dict[str, Any] = client.document(retention.categories())
    if invocation.json:
        emit(found)
        return
    rows = [
        (
            one["category"],
            one["table"],
            one["clock"],
            _kept(one),
            "-" if one["last"] is None else f"{one['last']['rows']}, {relative(instant_of(one['last']['created_at']))}",
        )
        for one in found["items"]
    ]
    table(invocation, ["category", "table", "clock", "kept", "last purge"], rows)


@command.command("preview")
@click.argument("category")
@click.option("--days", type=click.IntRange(0, 36_500), help="Instead of the policy's.")
@click.option("--keep-last", type=click.IntRange(0), help="Instead of the policy's.")
@shared_options
@pass_invocation
def preview(invocation: Invocation, category: str, days: int | None, keep_last: int | None) -> None:
    """Say what a purge would take now; nothing is taken.

    \b
    Example:
      valhalla retention preview logs --days 30
    """
    with invocation.client() as client:
        from valhalla.sdk import retention

        found: dict[str, Any] = client.document(retention.preview(category, days=days, keep_last=keep_last))
    if invocation.json:
        emit(found)
        return
    share = f"{found['rows']} of {found['total']} ({found['share']:.1%})"
    names = ("cutoff", "oldest", "newest", "bytes", "held")
    fields(invocation, [("rows", share), *((name, found[name]) for name in names)])


@command.command("purge")
@click.argument("category")
@click.option("-m", "--reason", required=True, help="Why; it is in the ledger.")
@click.option("--confirm", is_flag=True, help="Of a large part of the table: have it held until somebody approves.")
@shared_options
@pass_invocation
def purge(invocation: Invocation, category: str, reason: str, confirm: bool) -> None:
    """Have a category purged by its policy, now.

    \b
    Example:
      valhalla retention purge logs --reason "disk is full"
    """
    with invocation.client() as client:
        from valhalla.sdk import retention

        found: dict[str, Any] = client.document(retention.purge(category, {"reason": reason, "confirm": confirm}))
    if invocation.json:
        emit(found)
    elif found["purge"] is not None:
        say(found["purge"]["id"])
    else:
        say(found["hold"])
        remark(invocation, f"It waits for approval: {invocation.again('hold', 'approve', found['hold'])}")


@command.command("purges")
@click.option("--category", help="Only of this one.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def purges(invocation: Invocation, category: str | None, limit: int) -> None:
    """List purges with their proofs, the newest first.

    \b
    Example:
      valhalla retention purges --category logs
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk import retention

        found = collect(
            client, lambda size, cursor: retention.purges(category=category, limit=size, cursor=cursor), limit
        )
    if invocation.json:
        emit(found)
        return
    rows = [
        (
            *(printable(one[name]) for name in ("id", "category", "status")),
            str(one["rows"]),
            printable(one["cutoff"])[:19],
            (one["digest"] or "")[:16],
            relative(instant_of(one["created_at"])),
        )
        for one in found["items"]
    ]
    table(invocation, ["id", "category", "status", "rows", "older than", "digest", "when"], rows)


def _kept(one: dict[str, Any]) -> str:
    policy = one["policy"]
    if not one["purged"]:
        return "for ever: the ledger"
    if policy is None:
        return "for ever" if one["default_days"] is None else f"{one['default_days']:g} days (default)"
    words = [] if policy["days"] is None else [f"{policy['days']} days"]
    words += [] if policy["keep_last"] is None else [f"the last {policy['keep_last']}"]
    return " and ".join(words) + ("" if policy["enabled"] else " (off)")
