"""``valhalla applications``: who follows the control plane, and what is not enforced there."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say, table
from valhalla.cli.text import printable


@click.command("applications")
@click.option("--lacking", is_flag=True, help="Only those that cannot enforce every rule.")
@shared_options
@pass_invocation
def command(invocation: Invocation, *, lacking: bool) -> None:
    """List the applications that follow this control plane, and which rules they cannot enforce.

    \b
    Example:
      valhalla applications --lacking
    """
    with invocation.client() as client:
        document = client.system.applications()
    items = [one for one in document["items"] if not lacking or one["state"] == "degraded"]
    if invocation.json:
        emit({**document, "items": items})
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
