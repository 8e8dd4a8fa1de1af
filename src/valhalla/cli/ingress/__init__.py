"""``valhalla ingress``: what takes live traffic in, each as a process of its own, and what it goes by."""

from __future__ import annotations

from typing import Final

import click

from valhalla.cli.invocation import shared_options
from valhalla.cli.lazy import LazyGroup

_AT: Final = "valhalla.cli.ingress."
TABLE: Final = {
    "discord": (_AT + "discord", "Read the gateway of a Discord bot."),
    "discord-api": (_AT + "discord_api", "Be Discord for the bots of sandboxes."),
    "http": (_AT + "http", "Receive webhooks."),
    "proxy": (_AT + "proxy", "Send requests to sandboxes or to production."),
    "receiver": (_AT + "receiver", "Whose webhooks are received, and how."),
}


@click.group("ingress", cls=LazyGroup, table=TABLE)
@shared_options
def command() -> None:
    """Take live traffic in, and put it on the lane or before the sandbox that it belongs to.

    \b
    Example:
      valhalla ingress receiver put github --file github.json
      valhalla ingress http --listen 127.0.0.1:8081
      valhalla ingress proxy --production http://127.0.0.1:8000 --header x-test-user
    """
