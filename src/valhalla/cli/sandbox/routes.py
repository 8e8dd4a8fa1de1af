"""``valhalla sandbox routes``."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, table
from valhalla.cli.text import printable


@click.command("routes")
@click.argument("name")
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str) -> None:
    """List which live events a sandbox gets.

    \b
    Example:
      valhalla sandbox routes try-it
    """
    from valhalla.sdk import lanes

    with invocation.client() as client:
        document: Any = client.document(lanes.routes(name))
    if invocation.json:
        emit(document)
        return
    rows = [
        (f"{printable(one['kind'])}:{printable(one['key'])}", one["mode"], f"{one['sample']:g}") for one in document
    ]
    table(invocation, ["route", "mode", "sample"], rows)
