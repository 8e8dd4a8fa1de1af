"""``valhalla sandbox unlink``."""

from __future__ import annotations

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say
from valhalla.cli.text import printable


@click.command("unlink")
@click.argument("name")
@click.argument("route", type=arguments.route, metavar="KIND:KEY")
@click.option(
    "--unread",
    type=click.Choice(["drain", "return", "drop"]),
    help="Who gets events that it has not read: it does (drain), production, or nobody.",
)
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str, route: tuple[str, str], unread: str | None) -> None:
    """End a route: its events go to production again.

    \b
    Example:
      valhalla sandbox unlink try-it discord.guild:123456789012345678
    """
    kind, key = route
    with invocation.client() as client:
        client.unlink(name, kind, key, unread=unread)
    if invocation.json:
        emit({"sandbox": name, "kind": kind, "key": key, "linked": False})
    else:
        say(f"unlinked: {printable(kind)}:{printable(key)} <- {printable(name)}")
