"""``valhalla maintenance list``, ``add``, ``show``, ``cancel`` and ``calendar``: windows by the words of who plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, remark, say, table
from valhalla.cli.text import instant_of, printable, relative

_REGISTRY = "windows"


@click.command("list")
@shared_options
@pass_invocation
def planned(invocation: Invocation) -> None:
    """List the next times of all windows, up to ten in 92 days.

    \b
    Example:
      valhalla maintenance list
    """
    with invocation.client() as client:
        from valhalla.sdk.maintenance import maintenance

        found = client.document(maintenance())["upcoming"]
    if invocation.json:
        emit({"items": found})
    elif found:
        times(invocation, found)
    else:
        remark(invocation, "Nothing is planned.")


@click.command("add")
@click.argument("name")
@click.option("--start", required=True, metavar="TIME", help="On the clocks of the zone: 2026-12-06T02:00.")
@click.option("--end", required=True, metavar="TIME", help="Likewise.")
@click.option("--zone", default="UTC", show_default=True, help="Of the IANA database: America/Toronto.")
@click.option("--rrule", help="How it repeats (RFC 5545): FREQ=WEEKLY;BYDAY=SU.")
@click.option(
    "--mode",
    type=click.Choice(["maintenance", "read_only"]),
    default="maintenance",
    show_default=True,
    help="What holds.",
)
@click.option("--reason", default="", help="Why; callers are told.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be stored, and store nothing.")
@shared_options
@pass_invocation
def plan(invocation: Invocation, name: str, *, dry_run: bool, **window: Any) -> None:
    """Plan a window; one of this name must not be there yet.

    \b
    Example:
      valhalla maintenance add upgrade --start 2026-12-06T02:00 --end 2026-12-06T04:00 --rrule "FREQ=WEEKLY;BYDAY=SU"
    """
    members = {member: value for member, value in window.items() if value is not None}
    with invocation.client() as client:
        found = client.registry(_REGISTRY).create({"name": name, **members}, dry_run=dry_run)
    if invocation.json or dry_run:
        emit(found)
    else:
        _show(invocation, found)


@click.command("show")
@click.argument("name")
@shared_options
@pass_invocation
def show_window(invocation: Invocation, name: str) -> None:
    """Show a window and its next ten times.

    \b
    Example:
      valhalla maintenance show upgrade
    """
    with invocation.client() as client:
        from valhalla.sdk.maintenance import preview_window

        found = client.registry(_REGISTRY).get(name)
        members = {each: found[each] for each in ("start", "end", "zone", "rrule", "mode", "reason") if found.get(each)}
        following: list[dict[str, Any]] = []
        if found.get("enabled", True):
            following += client.document(preview_window(members))["items"]
    for one in following:
        one["window"] = name
    if invocation.json:
        emit({**found, "upcoming": following})
        return
    _show(invocation, found)
    if following:
        times(invocation, following)


@click.command("cancel")
@click.argument("name")
@click.option("--reason", help="Why; kept in history and ledger.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@shared_options
@pass_invocation
def cancel(invocation: Invocation, name: str, reason: str | None, *, dry_run: bool) -> None:
    """Call a window off, all its times; `set normal` ends one that is under way and keeps the next.

    \b
    Example:
      valhalla maintenance cancel upgrade --reason "moved to spring"
    """
    with invocation.client() as client:
        found = client.registry(_REGISTRY).delete(name, reason=reason, dry_run=dry_run)
    if invocation.json or dry_run:
        emit(found or {"name": name, "cancelled": True})
    else:
        remark(invocation, f"{name} is called off.")


@click.command("calendar")
@shared_options
@pass_invocation
def feed(invocation: Invocation) -> None:
    """Print the windows of the next 92 days as an iCalendar feed.

    \b
    Example:
      valhalla maintenance calendar > maintenance.ics
    """
    with invocation.client() as client:
        text = client.maintenance.calendar().decode()
    if invocation.json:
        emit({"calendar": text})
    else:
        say(text.rstrip())


def times(invocation: Invocation, items: Sequence[dict[str, Any]]) -> None:
    """Write occurrences as a table."""
    rows = [
        (
            one["window"],
            one["mode"],
            one["start"],
            one["end"],
            relative(instant_of(one["start"])),
            one.get("reason", ""),
        )
        for one in items
    ]
    table(invocation, ["window", "mode", "start", "end", "", "reason"], rows)


def _show(invocation: Invocation, found: dict[str, Any]) -> None:
    fields(
        invocation,
        [
            ("name", found["name"]),
            ("mode", found["mode"]),
            ("start", f"{found['start']} {found['zone']}"),
            ("end", f"{found['end']} {found['zone']}"),
            ("repeats", found.get("rrule") or "no"),
            ("next", found.get("next_start") or "never again"),
            ("reason", printable(found.get("reason") or "")),
        ],
    )
