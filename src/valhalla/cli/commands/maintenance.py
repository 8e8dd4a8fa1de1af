"""``valhalla maintenance``: close writes for a while, now or as planned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields
from valhalla.cli.planning import cancel, plan, planned, show_window, times
from valhalla.cli.planning import feed as calendar
from valhalla.cli.registry import registry_group
from valhalla.cli.text import instant_of, printable

_Mode = Literal["normal", "read_only", "maintenance"]


@click.group("maintenance")
@shared_options
def command() -> None:
    """See whether writes are open; close and open them; plan when.

    \b
    Example:
      valhalla maintenance status
      valhalla maintenance set read_only --reason "moving the database" --for 30m
      valhalla maintenance add upgrade --start 2026-12-06T02:00 --end 2026-12-06T04:00 --zone America/Toronto
    """


for one in (planned, plan, show_window, cancel, calendar):
    command.add_command(one)


@command.command("status")
@shared_options
@pass_invocation
def status(invocation: Invocation) -> None:
    """Show which mode holds, why and until when, and what is planned.

    \b
    Example:
      valhalla maintenance status --json
    """
    with invocation.client() as client:
        from valhalla.sdk.maintenance import maintenance

        found = client.document(maintenance())
    if invocation.json:
        emit(found)
        return
    _show(invocation, found)
    if found.get("upcoming"):
        times(invocation, found["upcoming"])


@command.command("set")
@click.argument("mode", type=click.Choice(["normal", "read_only", "maintenance"]))
@click.option("--reason", required=True, help="Why; callers, history and ledger are told.")
@click.option("--for", "lasting", type=arguments.duration, help="It ends by itself after this: 30m, 2h.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would hold, and change nothing.")
@shared_options
@pass_invocation
def set_mode(invocation: Invocation, mode: _Mode, reason: str, lasting: timedelta | None, *, dry_run: bool) -> None:
    """Close writes or open them; `normal` also ends a window that is under way.

    \b
    Example:
      valhalla maintenance set normal --reason "all is well"
    """
    until = None if lasting is None else datetime.now(UTC) + lasting
    with invocation.client() as client:
        from valhalla.sdk.maintenance import set_maintenance

        found = client.document(set_maintenance(mode, reason, until=until, dry_run=dry_run))
    if invocation.json:
        emit(found)
    else:
        _show(invocation, found)


@command.command("preview")
@click.option("--start", required=True, metavar="TIME", help="On the clocks of the zone: 2026-12-06T02:00.")
@click.option("--end", required=True, metavar="TIME", help="Likewise.")
@click.option("--zone", default="UTC", show_default=True, help="Of the IANA database: America/Toronto.")
@click.option("--rrule", help="How it repeats (RFC 5545): FREQ=WEEKLY;BYDAY=SU.")
@shared_options
@pass_invocation
def preview(invocation: Invocation, start: str, end: str, zone: str, rrule: str | None) -> None:
    """Say when a window would be the next ten times; nothing is stored.

    \b
    Example:
      valhalla maintenance preview --start 2026-12-06T02:00 --end 2026-12-06T04:00 --rrule "FREQ=WEEKLY;BYDAY=SU"
    """
    window = {"start": start, "end": end, "zone": zone, "rrule": rrule}
    with invocation.client() as client:
        from valhalla.sdk.maintenance import preview_window

        found = client.document(preview_window(window))
    if invocation.json:
        emit(found)
    else:
        times(invocation, found["items"])


windows = registry_group(
    "maintenance window",
    "/system/maintenance/windows",
    key="name",
    columns=("mode", "start", "end", "zone", "rrule", "next_start", "enabled"),
    example="weekly-upgrade",
)
command.add_command(windows, "window")


def _show(invocation: Invocation, found: dict[str, Any]) -> None:
    until = instant_of(found.get("until"))
    fields(
        invocation,
        [
            ("mode", found["mode"]),
            ("reason", printable(found.get("reason") or "")),
            ("made by", found.get("window") or found.get("source")),
            ("since", found.get("since")),
            ("until", "nobody has said" if until is None and found["mode"] != "normal" else found.get("until")),
            ("set by", found.get("set_by")),
        ],
    )
