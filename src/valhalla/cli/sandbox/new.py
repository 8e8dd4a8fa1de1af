"""``valhalla sandbox new``."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, paint, say, working
from valhalla.cli.sandbox.show import show
from valhalla.cli.text import printable


@click.command("new")
@click.argument("name", required=False)
@click.option("-t", "--ttl", type=arguments.ttl, help="Time to live: 90m, 24h, 7d (default: 24h).")
@click.option("--template", help="What its database starts with: community, empty, or your own.")
@click.option("-r", "--route", "routes", type=arguments.route, multiple=True, help="Events to send there; repeatable.")
@click.option(
    "--slices",
    type=arguments.words,
    default="",
    metavar="NAME,...",
    help="Which backends: postgres, valkey, nats, sqlite (default: the first three).",
)
@click.option("-o", "--owner", help="Whose it is (default: the key's owner).")
@click.option("-d", "--description", help="What it is for.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; repeatable.")
@click.option("--meta", "pairs", multiple=True, metavar="KEY=VALUE", help="Metadata; repeatable.")
@click.option("--key", metavar="KEY", help="Idempotency key: the same key twice makes one sandbox.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be made; make nothing.")
@shared_options
@pass_invocation
def command(
    invocation: Invocation,
    name: str | None,
    dry_run: bool,
    key: str | None,
    pairs: tuple[str, ...],
    **given: Any,
) -> None:
    """Make a sandbox; without NAME it gets one.

    \b
    Example:
      valhalla sandbox new try-it --ttl 90m --route discord.guild:123456789012345678
      valhalla sandbox new --slices postgres,sqlite
    """
    members = arguments.metadata(pairs)
    with invocation.client(timeout=60) as client:
        from valhalla.sdk import calls
        from valhalla.sdk.models import Draft

        draft = Draft(name=name, metadata=members, **given)
        request = calls.plan(draft) if dry_run else calls.create(draft, idempotency_key=key)
        with working(invocation, "Making the sandbox"):
            document = client.document(request)
    sandbox = document.get("would", document)
    if invocation.json:
        emit(document)
    elif invocation.quiet:
        say(printable(sandbox.get("name", "")))
    elif dry_run:
        say(f"Would make {printable(sandbox.get('name', 'a sandbox'))}; nothing was made")
        show(invocation, sandbox)
    else:
        _tell(invocation, sandbox)


def _tell(invocation: Invocation, sandbox: dict[str, Any]) -> None:
    name = printable(sandbox["name"])
    say(f"{paint(invocation, 'Made', 'running')} {name}")
    show(invocation, sandbox)
    say("")
    say(f'Enter it:   eval "$({invocation.again("sandbox", "env", name)})"')
    say(f"Run in it:  {invocation.again('sandbox', 'run', name)} -- COMMAND")
    say(f"End it:     {invocation.again('sandbox', 'rm', name)}")
