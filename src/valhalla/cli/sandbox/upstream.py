"""``valhalla sandbox upstream``."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say
from valhalla.cli.text import printable


@click.command("upstream")
@click.argument("name")
@click.argument("address", metavar="URL", required=False)
@click.option("--own-host", is_flag=True, help="Ask it under the name in its URL, not under the caller's.")
@click.option("--rm", "remove", is_flag=True, help="Forget it.")
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str, address: str | None, *, own_host: bool, remove: bool) -> None:
    """Say where a sandbox's HTTP requests go, or show it; prints the address and the routing key.

    \b
    Example:
      valhalla sandbox upstream try-it http://127.0.0.1:3000
    """
    if remove and address is not None:
        raise click.UsageError("--rm takes no URL.")
    from valhalla.sdk import upstreams

    with invocation.client() as client:
        if remove:
            client.send(upstreams.drop_upstream(name))
            found: dict[str, Any] = {"name": name, "removed": True}
        elif address is None:
            found = client.document(upstreams.upstream(name))
        else:
            found = client.document(upstreams.set_upstream(name, address, own_host=own_host))
    if invocation.json:
        emit(found)
    elif remove:
        say(f"forgotten: {printable(name)}")
    else:
        say(printable(found["url"]))
        if found.get("key"):
            say(printable(found["key"]))
            remark(invocation, "The second line is the routing key: whoever sends it is sent into the sandbox.")
