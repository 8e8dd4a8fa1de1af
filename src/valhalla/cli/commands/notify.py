"""``valhalla notify``: tell people and programs what happens, and see that they heard it."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.lazy import LazyGroup
from valhalla.cli.output import emit, say, table
from valhalla.cli.text import instant_of, printable, relative

_AT = "valhalla.cli.commands."
TABLE = {
    "channel": (_AT + "notify_channel", "Where messages go: read, change, test, resume."),
    "rule": (_AT + "notify_rule", "Which events go where, and when."),
    "template": (_AT + "notify_template", "How messages read; preview them."),
    "delivery": (_AT + "notify_delivery", "What became of messages; replay the dead."),
    "send": (_AT + "notify_send", "Send a message."),
    "status": (_AT + "notify", "Show how every channel fares."),
}


@click.command("status")
@shared_options
@pass_invocation
def status(invocation: Invocation) -> None:
    """Show how every channel fares and what waits for it; exit code 1 if one fails.

    \b
    Example:
      valhalla notify status --json
    """
    found = invocation.ask(lambda client: client.notifications.status())
    failing = [each["channel"] for each in found["items"] if each["failures"]]
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for name in failing:
            say(printable(name))
    else:
        rows = [_row(each) for each in found["items"]]
        table(invocation, ["channel", "state", "waiting", "dead", "last delivered", "last error"], rows)
    if failing:
        raise click.exceptions.Exit(1)


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    state = "disabled" if not found["enabled"] else "failed" if found["failures"] else "ok"
    waiting = found["pending"] + found["failed"] + found["delivering"]
    delivered = relative(instant_of(found["delivered_at"])) if found["delivered_at"] else "-"
    return found["channel"], state, str(waiting), str(found["dead"]), delivered, found["last_error"] or ""


class _Group(LazyGroup):
    """The table's commands; ``status`` is in this module, whose ``command`` is the group."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name."""
        return status if cmd_name == "status" else super().get_command(ctx, cmd_name)


@click.group("notify", cls=_Group, table=TABLE)
@shared_options
def command() -> None:
    """Tell people and programs what happens, and see that they heard it.

    \b
    Example:
      valhalla notify channel put ops --file ops.json
      valhalla notify channel test ops
      valhalla notify send ops "The import is done"
    """
