"""``valhalla notify template``: how messages read."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say
from valhalla.cli.registry import members_of, registry_group
from valhalla.cli.text import printable

command = registry_group(
    "notify template", "notification-templates", key="name", columns=("subject", "description"), example="short"
)


@command.command("preview")
@click.argument("name")
@click.argument("members", nargs=-1, metavar="[MEMBER=VALUE]...")
@click.option("--event", default="alert.opened", show_default=True, help="The type of the event.")
@shared_options
@pass_invocation
def preview(invocation: Invocation, name: str, members: tuple[str, ...], event: str) -> None:
    """Render a stored template with an event whose data are the members. Nothing is sent.

    \b
    Example:
      valhalla notify template preview short title="It broke" severity=error
    """
    data = members_of(members)
    body = {"name": name, "event": {"type": event, "data": data}}
    found = invocation.ask(lambda client: client.notifications.preview(body))
    if invocation.json:
        emit(found)
        return
    if found["subject"] is not None:
        say(f"Subject: {printable(found['subject'])}\n")
    for line in found["body"].splitlines():
        say(printable(line))
