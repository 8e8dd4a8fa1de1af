"""``valhalla ingress discord-api``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from valhalla.cli import arguments
from valhalla.cli.ingress.bot_token import read_token, token_option
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import remark
from valhalla.cli.serving import Serving, serving_options
from valhalla.cli.text import printable
from valhalla.sdk.discovery import data_directory


@click.command("discord-api")
@token_option
@click.option("--listen", type=arguments.endpoint, default="127.0.0.1:0", metavar="HOST:PORT", help="Where it listens.")
@click.option("--metrics", type=arguments.endpoint, metavar="HOST:PORT", help="Where Prometheus may ask.")
@click.option("--api", default=None, metavar="URL", help="Another REST interface than Discord's, for tests.")
@serving_options
@shared_options
@pass_invocation
def command(
    invocation: Invocation,
    token_file: Path | None,
    listen: tuple[str, int],
    metrics: tuple[str, int] | None,
    api: str | None,
    **said: Any,
) -> int:
    """Hold the real bot token, and ask Discord for the bots of sandboxes.

    A bot uses the token that 'valhalla sandbox discord-token NAME' prints. Its calls reach the guilds that the sandbox
    has linked (discord.guild:ID); what it would write elsewhere is pretended, and noted in the ledger. Ctrl-C answers
    first what is under way. With --json each line of standard output says what happened.

    \b
    Example:
      DISCORD_TOKEN=... valhalla ingress discord-api --listen 127.0.0.1:8082
    """
    from pydantic import SecretStr

    from valhalla.sandbox.routing.discord.gateway.asking import DISCORD
    from valhalla.server.locking_discord import lock

    token = SecretStr(read_token(token_file))
    options = Serving.of(**said).options(data_directory(invocation.data_dir))

    def tell(document: dict[str, Any]) -> None:
        if invocation.json:
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()
        else:
            remark(invocation, _line(document))

    return lock(options, token, api or DISCORD, listen, tell, metrics=metrics)


def _line(document: dict[str, Any]) -> str:
    if document["kind"] == "listening":
        at = f"{document['host']}:{document['port']}"
        return f"Bots of sandboxes ask {printable(document['application'])} at http://{at}/api/v10"
    counts = ", ".join(f"{number:,} {what}" for what, number in document.items() if what != "kind")
    return f"Ended: {counts or 'nothing was asked'}."
