"""``valhalla sandbox snapshot``."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say, working
from valhalla.cli.text import printable


@click.command("snapshot")
@click.argument("name")
@click.option("--as", "template", required=True, metavar="TEMPLATE", help="What the template shall be called.")
@click.option("--replace", is_flag=True, help="Replace your own snapshot of this name.")
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str, template: str, replace: bool) -> None:
    """Copy what a sandbox's database holds into a template that others can start from.

    \b
    Example:
      valhalla sandbox snapshot try-it --as shop-with-orders
      valhalla sandbox new --template shop-with-orders
    """
    from valhalla.sdk import calls

    with invocation.client() as client, working(invocation, f"Copying {name}"):
        document = client.document(calls.snapshot(name, template, replace=replace))
    made = printable(document["name"])
    if invocation.json:
        emit(document)
    elif invocation.quiet:
        say(made)
    else:
        say(f"Template '{made}' holds {document['tables']} tables with {document['rows']} rows")
        say(f"Start from it:  {invocation.again('sandbox', 'new', '--template', made)}")
