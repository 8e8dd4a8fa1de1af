"""``valhalla sandbox``: the commands of one sandbox's life."""

from __future__ import annotations

from typing import Final

import click

from valhalla.cli.invocation import shared_options
from valhalla.cli.lazy import LazyGroup

_AT: Final = "valhalla.cli.sandbox."
TABLE: Final = {
    "new": (_AT + "new", "Make a sandbox."),
    "ls": (_AT + "ls", "List sandboxes."),
    "status": (_AT + "status", "Show a sandbox's health."),
    "env": (_AT + "env", "Print its environment for eval, or a file."),
    "run": (_AT + "run", "Run one program inside it."),
    "psql": (_AT + "psql", "Open its database in psql."),
    "link": (_AT + "link", "Route events to it."),
    "unlink": (_AT + "unlink", "End a route."),
    "routes": (_AT + "routes", "List which live events it gets."),
    "upstream": (_AT + "upstream", "Say where its HTTP requests go."),
    "discord-token": (_AT + "discord_token", "Print the token of its Discord bot."),
    "events": (_AT + "events", "Show its live events."),
    "record": (_AT + "record", "Write its live events into a file."),
    "replay": (_AT + "replay", "Give it recorded or past events."),
    "dead": (_AT + "dead", "Show events that it could not work on."),
    "extend": (_AT + "extend", "Give it more time."),
    "snapshot": (_AT + "snapshot", "Make a template of what it holds."),
    "reset": (_AT + "reset", "Bring it back to its template."),
    "rm": (_AT + "rm", "Destroy sandboxes."),
    "audit": (_AT + "audit", "Show what happened to it."),
    "reap": (_AT + "reap", "Run the reaper now (admin)."),
}
ALIASES: Final = {"create": "new", "list": "ls", "connect": "env", "destroy": "rm"}


@click.group("sandbox", cls=LazyGroup, table=TABLE, aliases=ALIASES)
@shared_options
def command() -> None:
    """Make, enter and destroy sandboxes.

    \b
    Example:
      valhalla sandbox new try-it --ttl 90m
      valhalla sandbox run try-it -- pytest
      valhalla sandbox rm -y try-it

    create, list, connect and destroy are other names for new, ls, env and rm.
    """
