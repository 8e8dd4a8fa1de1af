"""``valhalla sandbox audit``."""

from __future__ import annotations

import click

from valhalla.cli.entries import print_entries
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options


@click.command("audit")
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str, limit: int) -> None:
    """Show what happened to a sandbox; its id works also after its end.

    \b
    Example:
      valhalla sandbox audit try-it
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk import calls

        found = collect(client, lambda size, cursor: calls.sandbox_audit(name, limit=size, cursor=cursor), limit)
    print_entries(invocation, found)
