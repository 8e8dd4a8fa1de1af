"""``valhalla sandbox ls``."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say, table
from valhalla.cli.sandbox.show import expiry_of, routes_of
from valhalla.cli.text import printable


@click.command("ls")
@click.option("-a", "--all", "everything", is_flag=True, help="All owners, and the destroyed ones, too.")
@click.option("-o", "--owner", help="Only this owner's.")
@click.option("-s", "--status", help="Only those in this status.")
@click.option("--tag", help="Only those with this tag.")
@click.option("--name", help="Only those whose name begins with this.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@shared_options
@pass_invocation
def command(
    invocation: Invocation, *, everything: bool, limit: int | None, status: str | None, **filters: str | None
) -> None:
    """List the sandboxes that your key may see, newest first.

    \b
    Example:
      valhalla sandbox ls --status running
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk import calls

        found = collect(
            client,
            lambda size, cursor: calls.list_sandboxes(
                **filters,
                status=status,
                include_destroyed=everything or status == "destroyed",
                limit=size,
                cursor=cursor,
            ),
            limit,
        )
    sandboxes = found["items"]
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for sandbox in sandboxes:
            say(printable(sandbox["name"]))
    elif sandboxes:
        rows = [(s["name"], s["status"], s["owner"], expiry_of(s), routes_of(s)) for s in sandboxes]
        table(invocation, ["name", "status", "owner", "expires", "routes"], rows)
        if found["next"]:
            remark(invocation, f"There are more than these {len(sandboxes)}.")
    else:
        remark(invocation, f"No sandboxes. Make one: {invocation.again('sandbox', 'new')}")
