"""``valhalla sandbox link``."""

from __future__ import annotations

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say
from valhalla.cli.text import printable


@click.command("link")
@click.argument("name")
@click.argument("route", type=arguments.route, metavar="KIND:KEY")
@click.option("--mirror", is_flag=True, help="Copies: production keeps the events.")
@click.option("--replay", is_flag=True, help="Nothing live: 'sandbox replay --route' brings past events.")
@click.option("--sample", type=click.FloatRange(0, 1), default=1.0, help="With --mirror: which part of them.")
@shared_options
@pass_invocation
def command(
    invocation: Invocation, name: str, route: tuple[str, str], mirror: bool, replay: bool, sample: float
) -> None:
    """Route events to a sandbox, from this moment on.

    \b
    Example:
      valhalla sandbox link try-it discord.guild:123456789012345678
      valhalla sandbox link try-it tenant:acme --mirror --sample 0.1
    """
    if sample != 1 and not mirror:
        raise click.UsageError("--sample goes with --mirror.")
    if mirror and replay:
        raise click.UsageError("A route is --mirror or --replay.")
    kind, key = route
    with invocation.client() as client:
        from valhalla.sdk import calls

        client.send(calls.link(name, kind, key, mirror=mirror, sample=sample, replay=replay))
    if invocation.json:
        emit({"sandbox": name, "kind": kind, "key": key, "linked": True})
    else:
        say(f"linked: {printable(kind)}:{printable(key)} -> {printable(name)}")
