"""``valhalla router``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.serving import Serving, serving_options
from valhalla.sdk.discovery import data_directory


@click.command("router")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@click.option(
    "--creds",
    multiple=True,
    metavar="ACCOUNT=FILE",
    help="Credentials for an account of your own, by its public key; repeatable.",
)
@serving_options
@shared_options
@pass_invocation
def command(invocation: Invocation, sources: tuple[str, ...], creds: tuple[str, ...], **said: Any) -> int:
    """Move events of publishers that write straight to NATS onto the lanes of their keys.

    For sources with way=router; all of them, or those that are named. Start as many as you like, on as many machines:
    they share the keys, and one that dies is replaced by the others. Ctrl-C stores what is under way first.

    \b
    Example:
      valhalla router orders
    """
    from valhalla.server.hopping import route

    files: dict[str, Path] = {}
    for one in creds:
        account, equals, path = one.partition("=")
        if not (equals and Path(path).is_file()):
            raise click.BadParameter(f"{one!r} is not ACCOUNT=FILE.", param_hint="'--creds'")
        files[account] = Path(path)
    options = Serving.of(**said).options(data_directory(invocation.data_dir))
    return route(options, sources, creds=files)
