"""``valhalla sandbox dead``."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say, table
from valhalla.cli.text import printable


@click.command("dead")
@click.argument("name")
@click.option("--replay", type=click.IntRange(1), metavar="NUMBER", help="Put this one on the lane again.")
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str, replay: int | None) -> None:
    """Show the events that a sandbox could not work on, and why.

    \b
    Example:
      valhalla sandbox dead try-it --replay 3
    """
    from valhalla.sdk import lanes

    with invocation.client() as client:
        if replay is not None:
            stored: Any = client.document(lanes.replay(name, replay))
            if invocation.json:
                emit(stored)
            else:
                say(f"replayed: {replay} -> {stored['sequence']}")
            return
        document: Any = client.document(lanes.dead(name))
    if invocation.json:
        emit(document)
        return
    rows = [
        (str(one["number"]), one["event"]["type"], printable(str(one["event"]["subject"])), printable(one["reason"]))
        for one in document["items"]
    ]
    table(invocation, ["number", "type", "key", "reason"], rows)
