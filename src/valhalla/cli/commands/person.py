"""``valhalla person``: who signed in with an issuer, who may no more."""

from __future__ import annotations

import click

from valhalla.cli.invocation import shared_options
from valhalla.cli.registry import Words, add_commands

_WORDS = Words("person", "people", "id", ("role", "owner", "active", "last_used_at"))


@click.group(name="person")
@shared_options
def command() -> None:
    """See who signed in to the console with an issuer, and who may no more.

    \b
    Example:
      valhalla person ls
      valhalla person set person:alice@example.com active=false
    """


add_commands(command, _WORDS, "person:alice@example.com", ("ls", "get", "set", "rm", "history", "diff"))
