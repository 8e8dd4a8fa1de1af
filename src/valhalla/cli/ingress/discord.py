"""``valhalla ingress discord``."""

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
from valhalla.sdk.discovery import data_directory

_FOLDER = click.Path(path_type=Path, file_okay=False)


def _numbers(value: str) -> tuple[int, ...]:
    found = set[int]()
    for part in value.split(","):
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        if not all(each.isascii() and each.isdigit() and len(each) < 6 for each in ends):
            raise click.BadParameter(f"{value!r} is not like 0,2-4.")
        found.update(range(int(ends[0]), int(ends[1]) + 1))
        if len(found) > 10_000 or int(ends[0]) > int(ends[1]):
            raise click.BadParameter(f"{value!r} is not like 0,2-4.")
    return tuple(sorted(found))


@click.command("discord")
@token_option
@click.option("--intents", default="default", show_default=True, help="Names with commas, 'all', or the number.")
@click.option("--shards", type=click.IntRange(1), help="Shards of all processes together (default: as Discord says).")
@click.option("--only", type=_numbers, metavar="0,2-4", help="The shards that this process reads.")
@click.option("--keep", type=_FOLDER, help="Where sessions are kept for the next process (default: data directory).")
@click.option("--metrics", type=arguments.endpoint, metavar="HOST:PORT", help="Where Prometheus may ask.")
@click.option("--api", default=None, metavar="URL", help="Another REST interface than Discord's, for tests.")
@serving_options
@shared_options
@pass_invocation
def command(
    invocation: Invocation,
    token_file: Path | None,
    intents: str,
    shards: int | None,
    only: tuple[int, ...] | None,
    keep: Path | None,
    metrics: tuple[str, int] | None,
    api: str | None,
    **said: Any,
) -> int:
    """Read the bot's gateway, and put each event on the lane of its guild.

    Guilds that sandboxes have linked (discord.guild:ID) are theirs, all others and direct messages are production's.
    Ctrl-C stores what was read and leaves the sessions so that the next process resumes them: nothing is lost if it
    comes within some minutes. With --json each line of standard output says what happened.

    \b
    Example:
      DISCORD_TOKEN=... valhalla ingress discord
      valhalla ingress discord --token-file bot.token --shards 8 --only 0-3
    """
    from pydantic import SecretStr

    from valhalla.sandbox.routing.discord.gateway import Options
    from valhalla.sandbox.routing.discord.gateway.asking import DISCORD
    from valhalla.sandbox.routing.discord.gateway.intents import parse
    from valhalla.server.reading_discord import read

    token = SecretStr(read_token(token_file))
    wanted = Options(token, parse(intents), shards, only, keep and keep.absolute(), api or DISCORD)
    options = Serving.of(**said).options(data_directory(invocation.data_dir))

    def tell(document: dict[str, Any]) -> None:
        if invocation.json:
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()
        elif line := _line(document):
            remark(invocation, line)

    return read(options, wanted, tell, metrics=metrics)


def _line(document: dict[str, Any]) -> str | None:
    if document["kind"] == "shard":
        name = f"shard {document['shard']} of {document['of']}"
        match document["state"]:
            case "live":
                began = "resumed" if document["resumes"] else "began"
                return f"{name}: live ({began}; {document['identifies']} sessions, {document['resumes']} resumed)"
            case "waiting" | "held":
                return f"{name}: {document['state']}: {document['why']}"
            case _:
                return None
    text = (
        f"{document['live']} of {document['read']} shards live; {document['events']:,} events read, "
        f"{document['stored']:,} stored, {document['waiting']:,} on their way"
    )
    if document["kind"] == "end":
        return f"Ended: {document['events']:,} events read, {document['stored']:,} stored."
    return text
