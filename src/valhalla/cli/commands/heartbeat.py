"""``valhalla heartbeat``: who says that it lives, and a dead man's switch for scripts."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, listing, say
from valhalla.cli.text import instant_of, printable, relative


@click.group("heartbeat")
@shared_options
def command() -> None:
    """See who lives; say so for a script of yours.

    \b
    Example:
      ./backup.sh && valhalla heartbeat ping backup.nightly --interval 86400
    """


@command.command("ls")
@shared_options
@pass_invocation
def ls(invocation: Invocation) -> None:
    """List who is expected to beat, by name.

    \b
    Example:
      valhalla heartbeat ls
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk import work_calls

        found = collect(client, lambda size, cursor: work_calls.list_heartbeats(limit=size, cursor=cursor), None)
    listing(
        invocation,
        found,
        ["name", "status", "last", "interval", "timeout", "reason"],
        lambda one: (
            one["name"],
            one["status"],
            relative(instant_of(one["last_beat_at"])),
            f"{one['interval']:g} s",
            f"{one['timeout']:g} s",
            one["reason"] or "",
        ),
    )


@command.command("ping")
@click.argument("name")
@click.option("--start", "sign", flag_value="start", help="A run begins: it must end within its grace.")
@click.option("--fail", "sign", flag_value="fail", help="It failed: missed at once.")
@click.option("--interval", type=click.FloatRange(min=0, min_open=True), help="Seconds; declares one nobody expects.")
@click.option("--reason", help="With --fail: what happened.")
@shared_options
@pass_invocation
def ping(invocation: Invocation, name: str, sign: str | None, interval: float | None, reason: str | None) -> None:
    """Say that something lives, or that its run has ended well.

    \b
    Example:
      valhalla heartbeat ping backup.nightly --interval 86400
    """
    with invocation.client() as client:
        from valhalla.sdk import work_calls

        found = client.document(work_calls.ping_heartbeat(name, sign, interval=interval, reason=reason))
    if invocation.json:
        emit(found)
    else:
        say(printable(name) if invocation.quiet else f"{found['status']}: {printable(name)}")


@command.command("rm")
@click.argument("name")
@shared_options
@pass_invocation
def rm(invocation: Invocation, name: str) -> None:
    """Expect something no longer.

    \b
    Example:
      valhalla heartbeat rm backup.nightly
    """
    with invocation.client() as client:
        client.heartbeats.forget(name)
    if invocation.json:
        emit({"name": name, "removed": True})
    else:
        say(printable(name) if invocation.quiet else f"removed: {printable(name)}")
