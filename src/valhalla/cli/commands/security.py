"""``valhalla security``: the mode in which the control plane stands."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields
from valhalla.cli.text import printable


@click.group("security")
@shared_options
def command() -> None:
    """See the security mode, raise it for a while, end that.

    \b
    Example:
      valhalla security mode
      valhalla security mode lockdown --reason "keys leaked" --for 2h
    """


@command.command("mode")
@click.argument("mode", type=click.Choice(["normal", "elevated", "lockdown"]), required=False)
@click.option("--reason", help="Why; needed to set it, kept in history and ledger.")
@click.option("--for", "lasting", type=arguments.duration, help="Until it falls back by itself: 30m, 2h; else 1h.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would hold, and change nothing.")
@shared_options
@pass_invocation
def set_mode(
    invocation: Invocation, mode: str | None, reason: str | None, lasting: timedelta | None, *, dry_run: bool
) -> None:
    """Show the mode, or set it.

    \b
    Example:
      valhalla security mode elevated --reason "many wrong keys" --for 30m
      valhalla security mode normal --reason "all is well"
    """
    if mode is not None and not reason:
        raise click.UsageError("Say why: --reason TEXT.")
    with invocation.client() as client:
        from valhalla.sdk import policies

        if mode is None:
            found: dict[str, Any] = client.document(policies.mode())
        else:
            body: dict[str, Any] = {"mode": mode, "reason": reason}
            if lasting is not None:
                body["lasting_seconds"] = int(lasting.total_seconds())
            found = client.document(policies.set_mode(body, dry_run=dry_run))
    if invocation.json:
        emit(found)
        return
    shown = [(name, found.get(name)) for name in ("mode", "reason", "actor", "since", "until")]
    fields(invocation, [(name, None if value is None else printable(str(value))) for name, value in shown])
