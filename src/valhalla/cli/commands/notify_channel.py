"""``valhalla notify channel``: where messages go."""

from __future__ import annotations

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say
from valhalla.cli.registry import registry_group
from valhalla.cli.text import printable

command = registry_group(
    "notify channel", "channels", key="name", columns=("kind", "enabled", "ordered", "fallback"), example="ops"
)


@command.command("test")
@click.argument("name")
@shared_options
@pass_invocation
def test(invocation: Invocation, name: str) -> None:
    """Send a test message now: exit code 0 if it was delivered, else 1.

    \b
    Example:
      valhalla notify channel test ops
    """
    found = invocation.ask(lambda client: client.notifications.test_channel(name))
    if invocation.json:
        emit(found)
    elif found["delivered"]:
        say(f"delivered in {found['seconds']:.3f} s")
    else:
        say(f"not delivered: {printable(found['error'] or found['outcome'])}")
        if found["excerpt"]:
            remark(invocation, printable(found["excerpt"]))
    if not found["delivered"]:
        raise click.exceptions.Exit(1)


@command.command("resume")
@click.argument("name")
@shared_options
@pass_invocation
def resume(invocation: Invocation, name: str) -> None:
    """Forget that a channel failed, and try at once what waits for its next attempt.

    \b
    Example:
      valhalla notify channel resume ops
    """
    found = invocation.ask(lambda client: client.notifications.resume_channel(name))
    if invocation.json:
        emit(found)
    else:
        say(printable(name) if invocation.quiet else f"resumed; {found['hurried']} messages are tried again")


@command.command("secret")
@click.argument("name")
@click.option("--at-once", is_flag=True, help="The old secret ceases now instead of in a day.")
@shared_options
@pass_invocation
def secret(invocation: Invocation, name: str, at_once: bool) -> None:
    """Make a new signing secret of a webhook and print it, this once.

    \b
    Example:
      valhalla notify channel secret ops --quiet > secret.txt
    """
    found = invocation.ask(lambda client: client.notifications.rotate_secret(name, at_once=at_once))
    if invocation.json:
        emit(found)
        return
    say(printable(found["secret"]))
    if found["old_until"] is not None:
        remark(invocation, f"The old one signs beside it until {found['old_until']}.")


@command.command("keys")
@click.argument("name")
@shared_options
@pass_invocation
def keys(invocation: Invocation, name: str) -> None:
    """Show what receivers of a webhook verify with: the public key of v1a, never the secret of v1.

    \b
    Example:
      valhalla notify channel keys ops
    """
    found = invocation.ask(lambda client: client.notifications.keys(name))
    if invocation.json:
        emit(found)
    else:
        say(f"signatures: {', '.join(found['signatures'])}")
        if found["public_key"]:
            say(f"public key: {printable(found['public_key'])}")
        say(f"secrets:    {found['secrets']}")
