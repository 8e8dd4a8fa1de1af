"""``valhalla demo``: the command; the story it tells is ``valhalla.cli.demo``."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options


@click.command("demo")
@shared_options
@pass_invocation
def command(invocation: Invocation) -> int:
    """Start everything, live through one sandbox, and prove that nothing is left.

    \b
    Example:
      valhalla demo
    """
    from valhalla.cli import demo

    return demo.run(invocation)
