"""``valhalla flag``: feature flags."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say, table
from valhalla.cli.registry import members_of, registry_group
from valhalla.cli.text import printable

command = registry_group(
    "flag", "flags", columns=("state", "defaultVariant", "killed", "owner", "description"), example="new-checkout"
)


@command.command("kill")
@click.argument("name")
@click.option("--variant", help="Serve this one; the caller's default without it.")
@click.option("--reason", help="Why; kept in history and ledger.")
@shared_options
@pass_invocation
def kill(invocation: Invocation, name: str, variant: str | None, reason: str | None) -> None:
    """Take a flag out of service at once, until it is revived.

    \b
    Example:
      valhalla flag kill new-checkout --variant off --reason incident-7
    """
    from valhalla.sdk.calls import flag_kill

    with invocation.client() as client:
        _killed(invocation, client.document(flag_kill(name, variant, reason)))


@command.command("revive")
@click.argument("name")
@click.option("--reason", help="Why; kept in history and ledger.")
@shared_options
@pass_invocation
def revive(invocation: Invocation, name: str, reason: str | None) -> None:
    """Let a killed flag serve what its definition says.

    \b
    Example:
      valhalla flag revive new-checkout
    """
    from valhalla.sdk.calls import flag_revive

    with invocation.client() as client:
        _killed(invocation, client.document(flag_revive(name, reason)))


@command.command("eval")
@click.argument("name")
@click.argument("context", nargs=-1, metavar="[MEMBER=VALUE]...")
@shared_options
@pass_invocation
def evaluate(invocation: Invocation, name: str, context: tuple[str, ...]) -> None:
    """Evaluate a flag for a context. A value is JSON if it reads as JSON, else text.

    \b
    Example:
      valhalla flag eval new-checkout targetingKey=user-7 plan=pro
    """
    from valhalla.sdk.calls import flag_evaluate

    members = members_of(context)
    with invocation.client() as client:
        found: dict[str, Any] = client.document(flag_evaluate(name, members))
    if invocation.json:
        emit(found)
    elif "errorCode" in found:
        raise click.ClickException(f"{found['errorCode']}: {printable(found.get('errorDetails', ''))}")
    else:
        value = found.get("value", "(the caller's default)")
        say(f"{printable(str(value))}  variant={printable(found['variant'])} reason={found['reason']}")


@command.command("stale")
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="Unchanged for so long.")
@shared_options
@pass_invocation
def stale(invocation: Invocation, days: int) -> None:
    """List flags that may be removed.

    \b
    Example:
      valhalla flag stale --days 60
    """
    from valhalla.sdk.calls import flag_stale

    with invocation.client() as client:
        found: dict[str, Any] = client.document(flag_stale(days))
    if invocation.json:
        emit(found)
        return
    rows = [(each["key"], each["owner"] or "", "; ".join(each["reasons"])) for each in found["items"]]
    table(invocation, ["key", "owner", "why"], rows)


def _killed(invocation: Invocation, found: dict[str, Any]) -> None:
    if invocation.json:
        emit(found)
        return
    state = "killed" if found["killed"] else "alive"
    say(printable(found["key"]) if invocation.quiet else f"{printable(found['key'])}: {state}")
