"""``valhalla limit``: how much callers may ask for."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, table
from valhalla.cli.registry import registry_group

command = registry_group(
    "limit", "limits", key="name", columns=("rate", "scope", "count", "shadow", "enabled"), example="per-key"
)


@command.command("usage")
@click.option("--top", type=click.IntRange(1, 100), default=5, show_default=True, help="How many talkers of each.")
@shared_options
@pass_invocation
def usage(invocation: Invocation, top: int) -> None:
    """Show what became of each limit's requests, and who takes most.

    \b
    Example:
      valhalla limit usage --top 3
    """
    with invocation.client() as client:
        from valhalla.sdk import calls

        found: dict[str, Any] = client.document(calls.limit_usage(top))
    if invocation.json:
        emit(found)
        return
    rows = [
        (
            each["name"],
            *(str(each[name]) for name in ("taken", "refused", "shadowed")),
            ", ".join(f"{one['subject'] or 'all'}: {one['taken']}" for one in each["top"]),
        )
        for each in found["items"]
    ]
    table(invocation, ["name", "taken", "refused", "shadowed", "top"], rows)
