"""``valhalla notify template``: how messages read."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say
from valhalla.cli.registry import pair, registry_group, value_of
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
    data = {key: value_of(text) for key, text in map(pair, members)}
    with invocation.client() as client:
        from valhalla.sdk import notify

        request = notify.preview({"name": name, "event": {"type": event, "data": data}})
        found: dict[str, Any] = client.document(request)
    if invocation.json:
        emit(found)
        return
    if found["subject"] is not None:
        say(f"Subject: {printable(found['subject'])}\n")
    for line in found["body"].splitlines():
        say(printable(line))
