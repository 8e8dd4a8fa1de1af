"""Where commands take the real bot token from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from valhalla.cli.failures import Refusal

VARIABLE: Final = "DISCORD_TOKEN"
token_option: Final = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=f"File that holds the bot token (default: the variable {VARIABLE}).",
)


def read_token(path: Path | None) -> str:
    """Return the token that a file or the variable holds.

    Raises:
        Refusal: there is none, or it is none.
    """
    text = path.read_text() if path is not None else os.environ.get(VARIABLE, "")
    token = text.strip().removeprefix("Bot ").strip()
    if not token:
        raise Refusal(
            "discord-token-missing",
            f"there is no bot token in {path or VARIABLE}",
            f"Copy it from the bot's page in Discord's developer portal into {VARIABLE}, or into the file of "
            "--token-file. It is never taken from the command line, which others on this machine can read.",
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise Refusal(
            "discord-token-malformed",
            f"what {path or VARIABLE} holds is no bot token",
            "A bot token is one word of letters, digits, dots, '-' and '_'.",
        )
    return token
