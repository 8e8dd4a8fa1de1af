"""``valhalla sandbox link``."""

from __future__ import annotations

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say
from valhalla.cli.text import printable


@click.command("link")
@click.argument("name")
@click.argument("route", type=arguments.route, metavar="KIND:KEY")
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str, route: tuple[str, str]) -> None:
    """Route events to a sandbox, from this moment on.

    \b
    Example:
      valhalla sandbox link try-it discord.guild:123456789012345678
    """
    kind, key = route
    with invocation.client() as client:
        from valhalla.sdk import calls

        client.send(calls.link(name, kind, key))
    if invocation.json:
        emit({"sandbox": name, "kind": kind, "key": key, "linked": True})
    else:
        say(f"linked: {printable(kind)}:{printable(key)} -> {printable(name)}")
