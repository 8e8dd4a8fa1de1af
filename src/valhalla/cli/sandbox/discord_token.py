"""``valhalla sandbox discord-token``."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say
from valhalla.cli.text import printable


@click.command("discord-token")
@click.argument("name")
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str) -> None:
    """Print the token of a sandbox's Discord bot: it opens 'valhalla ingress discord-api', and Discord refuses it.

    \b
    Example:
      DISCORD_TOKEN=$(valhalla sandbox discord-token try-it) python my_bot.py
    """
    from valhalla.sdk import lane_calls

    with invocation.client() as client:
        found = client.document(lane_calls.discord_token(name))
    if invocation.json:
        emit(found)
    else:
        say(printable(found["token"]))
        remark(invocation, "It is good as long as the sandbox runs, at 'valhalla ingress discord-api' alone.")
