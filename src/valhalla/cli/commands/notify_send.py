"""``valhalla notify send``: a message from a script."""

from __future__ import annotations

import time
from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say
from valhalla.cli.registry import members_of
from valhalla.cli.text import printable


@click.command("send")
@click.argument("channel")
@click.argument("subject")
@click.argument("members", nargs=-1, metavar="[MEMBER=VALUE]...")
@click.option("--body", default="", help="More than the one line.")
@click.option("--severity", type=click.Choice(["info", "warning", "error", "critical"]), default="info",
              show_default=True, help="How grave it is.")  # fmt: skip
@click.option("--key", help="Sent once under this key, however often the script runs.")
@click.option("--wait", type=click.FloatRange(0.1), help="Wait so many seconds for it to be delivered; else exit 1.")
@shared_options
@pass_invocation
def command(
    invocation: Invocation,
    channel: str,
    subject: str,
    members: tuple[str, ...],
    body: str,
    severity: str,
    key: str | None,
    wait: float | None,
) -> None:
    """Send a message; the members are its data.

    \b
    Example:
      valhalla notify send ops "The import is done" rows=4711 --key import-2026-11-21
    """
    document: dict[str, Any] = {"channel": channel, "subject": subject, "body": body, "severity": severity}
    document["data"] = members_of(members)
    if key is not None:
        document["key"] = key
    with invocation.client() as client:
        found = client.notifications.send(document)
        ends = time.monotonic() + (wait or 0)
        while wait is not None and found["status"] not in ("delivered", "dead") and time.monotonic() < ends:
            time.sleep(0.1)
            found = client.notifications.delivery(found["id"])
    if invocation.json:
        emit(found)
    else:
        say(printable(found["id"]) if invocation.quiet else f"{printable(found['id'])}  {found['status']}")
    if wait is not None and found["status"] != "delivered":
        raise click.exceptions.Exit(1)
