"""``valhalla sandbox reset``."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say, working
from valhalla.cli.text import printable


@click.command("reset")
@click.argument("name")
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str) -> None:
    """Bring a sandbox back to its template: same name, credentials and end; everything in it is removed.

    \b
    Example:
      valhalla sandbox reset try-it
    """
    from valhalla.sdk import calls

    with invocation.client() as client, working(invocation, f"Resetting {name}"):
        document = client.document(calls.reset(name))
    if invocation.json:
        emit(document)
    elif not invocation.quiet:
        say(f"{printable(document['name'])} is as its template '{printable(document['template'])}' made it")
