"""``valhalla schedule``: when which job runs."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, listing, remark, say
from valhalla.cli.text import instant_of, printable, relative


@click.group("schedule")
@shared_options
def command() -> None:
    """See the timetable of jobs; run, pause and resume.

    \b
    Example:
      valhalla schedule ls
      valhalla schedule run nightly
    """


@command.command("ls")
@shared_options
@pass_invocation
def ls(invocation: Invocation) -> None:
    """List the schedules by name.

    \b
    Example:
      valhalla schedule ls
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk import work_calls

        found = collect(client, lambda size, cursor: work_calls.list_schedules(limit=size, cursor=cursor), None)
    listing(
        invocation,
        found,
        ["name", "job", "when", "next", "last", "error"],
        lambda one: (
            one["name"],
            one["job"],
            _timing(one["timing"]),
            "paused" if one["paused"] else relative(instant_of(one["next_at"])),
            relative(instant_of(one["last_at"])),
            one["last_error"] or "",
        ),
    )


@command.command("next")
@click.argument("name")
@click.option("-n", "--runs", type=click.IntRange(1, 100), default=5, show_default=True, help="How many.")
@shared_options
@pass_invocation
def upcoming(invocation: Invocation, name: str, runs: int) -> None:
    """Show when a schedule runs next, in UTC.

    \b
    Example:
      valhalla schedule next nightly -n 3
    """
    with invocation.client() as client:
        from valhalla.sdk import work_calls

        schedule = client.document(work_calls.get_schedule(name, runs=runs))
    if invocation.json:
        emit(schedule)
        return
    for run in schedule["runs"]:
        say(str(run))
    if not schedule["runs"]:
        remark(invocation, "It is paused." if schedule["paused"] else "It does not run any more.")


@command.command("run")
@click.argument("name")
@shared_options
@pass_invocation
def run(invocation: Invocation, name: str) -> None:
    """Submit a schedule's job once, now, besides its timetable.

    \b
    Example:
      valhalla schedule run nightly
    """
    with invocation.client() as client:
        from valhalla.sdk import work_calls

        made = client.document(work_calls.run_schedule(name))
    if invocation.json:
        emit(made)
        return
    say(made["id"])
    if not made["created"]:
        remark(invocation, "The last run has not finished: that one.")


@command.command("pause")
@click.argument("name")
@shared_options
@pass_invocation
def pause(invocation: Invocation, name: str) -> None:
    """Stop a schedule for a while.

    \b
    Example:
      valhalla schedule pause nightly
    """
    _pause(invocation, name, paused=True)


@command.command("resume")
@click.argument("name")
@shared_options
@pass_invocation
def resume(invocation: Invocation, name: str) -> None:
    """Let a paused schedule go on; what was missed follows its catch-up policy.

    \b
    Example:
      valhalla schedule resume nightly
    """
    _pause(invocation, name, paused=False)


def _pause(invocation: Invocation, name: str, *, paused: bool) -> None:
    with invocation.client() as client:
        from valhalla.sdk import work_calls

        schedule = client.document(work_calls.pause_schedule(name, paused=paused))
    if invocation.json:
        emit(schedule)
    else:
        say(printable(name) if invocation.quiet else f"{'paused' if paused else 'resumed'}: {printable(name)}")


def _timing(timing: dict[str, Any]) -> str:
    match timing.get("type"):
        case "cron":
            return f"{timing['expression']} {timing['timezone']}"
        case "every":
            return f"every {timing['seconds']:g} s"
        case _:
            return f"once, {timing.get('at')}"
