"""``valhalla notify rule``: which events go where, and when."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say, table
from valhalla.cli.registry import members_of, registry_group

command = registry_group(
    "notify rule",
    "notification-rules",
    key="name",
    columns=("events", "minimum", "channels", "enabled"),
    example="alerts-to-ops",
)


@command.command("test")
@click.argument("event")
@click.argument("members", nargs=-1, metavar="[MEMBER=VALUE]...")
@click.option("--severity", type=click.Choice(["info", "warning", "error", "critical"]), help="Instead of its own.")
@shared_options
@pass_invocation
def test(invocation: Invocation, event: str, members: tuple[str, ...], severity: str | None) -> None:
    """Say which channels would hear of an event, and when. Nothing is sent.

    \b
    Example:
      valhalla notify rule test alert.opened name=job.dead --severity error
    """
    data = members_of(members)
    body: dict[str, Any] = {"type": event, "data": data}
    if severity is not None:
        body["severity"] = severity
    found = invocation.ask(lambda client: client.notifications.test_rules(body))
    if invocation.json:
        emit(found)
    elif not found["items"]:
        say("nobody would be told")
    else:
        rows = [
            (each["channel"], each["rule"] or "-", each["due_at"], "with others" if each["bundled"] else "by itself")
            for each in found["items"]
        ]
        table(invocation, ["channel", "rule", "when", "how"], rows)
