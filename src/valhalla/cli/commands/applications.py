"""``valhalla applications``: who follows the control plane, and what is not enforced there."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say, table
from valhalla.cli.text import printable


@click.command("applications")
@click.option("--lacking", is_flag=True, help="Only those that cannot enforce every rule.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@shared_options
@pass_invocation
def command(invocation: Invocation, *, lacking: bool, limit: int | None) -> None:
    """List the applications that follow this control plane, and which rules they cannot enforce.

    \b
    Example:
      valhalla applications --lacking
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk.system import applications

        state = "degraded" if lacking else None
        found = collect(client, lambda size, cursor: applications(state=state, limit=size, cursor=cursor), limit)
    items = found["items"]
    if invocation.json:
        emit(found)
        return
    if invocation.quiet:
        for one in items:
            say(printable(one["name"]))
        return
    if not items:
        remark(invocation, "No applications." if not lacking else "Every application enforces every rule.")
        return
    rows = [(one["name"], one["host"], one["state"], one["release"], one["seen_at"]) for one in items]
    table(invocation, ["application", "host", "state", "release", "seen"], rows)
    for one in items:
        for lack in one["lacks"]:
            said = f"{one['name']} on {one['host']}: {lack['rules']} by {lack['what']} not enforced: {lack['why']}"
            say(f"  {printable(said)}")
    if found["next"]:
        remark(invocation, f"There are more than these {len(items)}: see --limit.")
