"""``valhalla sandbox reap``."""

from __future__ import annotations

from typing import Any, cast

import click

from valhalla.cli.documents import mapping, sequence
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say, working
from valhalla.cli.text import printable


@click.command("reap")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be done; do nothing.")
@shared_options
@pass_invocation
def command(invocation: Invocation, dry_run: bool) -> None:
    """Run the reaper now: expire, destroy, resume, sweep orphans. For admins.

    \b
    Example:
      valhalla sandbox reap --dry-run
    """
    with invocation.client(timeout=300) as client:
        from valhalla.sdk import calls

        with working(invocation, "Reaping"):
            report: dict[str, Any] = client.document(calls.reap(dry_run=dry_run))
    if invocation.json:
        emit(report)
        return
    parts = ("expired", "destroyed", "resumed", "orphans", "removed")
    if not invocation.quiet:
        counts = ", ".join(f"{len(sequence(report, part))} {part}" for part in parts)
        say(f"{'Would be' if dry_run else 'Done'}: {counts}")
    for part in parts:
        for item in sequence(report, part):
            say(f"  {part}: {_name(item)}" if not invocation.quiet else _name(item))
    for name, reason in mapping(report, "failed").items():
        say(f"  failed: {printable(name)}: {printable(reason)}")
    for name, reason in mapping(report, "over_quota").items():
        say(f"  over quota: {printable(name)}: {printable(reason)}")


def _name(item: Any) -> str:
    if isinstance(item, dict):
        members = cast("dict[str, Any]", item)
        return printable(" ".join(str(members[k]) for k in ("slice", "kind", "name") if k in members) or members)
    return printable(item)
