"""``valhalla ingress discord-api``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
@click.option("--public", metavar="URL", help="Where bots find the gateway: wss://… behind TLS (default: as they ask).")
@click.option("--production", is_flag=True, help="The real bot may connect, too, and is sent what nobody has linked.")
@click.option("--api", default=None, metavar="URL", help="Another REST interface than Discord's, for tests.")
@serving_options
@shared_options
@pass_invocation
def command(
    invocation: Invocation,
    token_file: Path | None,
    listen: tuple[str, int],
    metrics: tuple[str, int] | None,
    public: str | None,
    api: str | None,
    *,
    production: bool,
    **said: Any,
) -> int:
    """Hold the real bot token, and be Discord for the bots of sandboxes: the REST interface and the gateway.

    A bot uses the token that 'valhalla sandbox discord-token NAME' prints. It is sent the events of the guilds that the
    sandbox has linked (discord.guild:ID), and its calls reach these; what it would write elsewhere is pretended, and
    noted in the ledger. Ctrl-C answers first what is under way, and asks bots to resume at the next process. With
    --json each line of standard output says what happened.

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

    return lock(
        options, token, api or DISCORD, listen, tell, metrics=metrics, public=_gateway(public), production=production
    )


def _gateway(url: str | None) -> str:
    if url is None:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.query or parts.path.strip("/"):
        raise click.BadParameter(f"{url!r} is not like wss://bots.example.com.", param_hint="--public")
    return f"{parts.scheme}://{parts.netloc}"


def _line(document: dict[str, Any]) -> str:
    if document["kind"] == "listening":
        at = f"{document['host']}:{document['port']}"
        return f"Bots of sandboxes ask {printable(document['application'])} at http://{at}/api/v10"
    counts = ", ".join(f"{number:,} {what}" for what, number in document.items() if what != "kind")
    return f"Ended: {counts or 'nothing was asked'}."
