"""``valhalla template``: what sandboxes can be made from."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say, table
from valhalla.cli.text import instant_of, printable, relative


@click.group("template")
@shared_options
def command() -> None:
    """List templates, and remove snapshots.

    \b
    Example:
      valhalla sandbox snapshot try-it --as shop-with-orders
      valhalla template ls
    """


@command.command("ls")
@shared_options
@pass_invocation
def ls(invocation: Invocation) -> None:
    """List what a sandbox can be made from.

    \b
    Example:
      valhalla template ls
    """
    with invocation.client() as client:
        from valhalla.sdk import calls

        found = client.document(calls.list_templates())
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for item in found["items"]:
            say(printable(item["name"]))
    else:
        rows: list[tuple[str, ...]] = []
        for item in found["items"]:
            snapshot: dict[str, Any] = item.get("snapshot") or {}
            made = relative(instant_of(snapshot.get("made_at"))) if snapshot else ""
            rows.append((item["name"], item["kind"], snapshot.get("owner", ""), made, str(snapshot.get("rows", ""))))
        table(invocation, ["name", "kind", "owner", "made", "rows"], rows)


@command.command("rm")
@click.argument("name")
@shared_options
@pass_invocation
def rm(invocation: Invocation, name: str) -> None:
    """Remove a snapshot; sandboxes that were made from it stay.

    \b
    Example:
      valhalla template rm shop-with-orders
    """
    with invocation.client() as client:
        client.remove_template(name)
    if invocation.json:
        emit({"name": name, "removed": True})
    else:
        say(printable(name) if invocation.quiet else f"removed: {printable(name)}")
