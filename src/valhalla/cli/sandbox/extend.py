"""``valhalla sandbox extend``."""

from __future__ import annotations

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say
from valhalla.cli.text import instant_of, printable, relative
from valhalla.sdk.client import Client


@click.command("extend")
@click.argument("name")
@click.argument("ttl", type=arguments.ttl)
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str, ttl: str) -> None:
    """Give a sandbox more time, up to the maximum from its creation.

    \b
    Example:
      valhalla sandbox extend try-it 24h
    """
    with invocation.client() as client:
        from valhalla.sdk import calls

        document = client.document(calls.extend(name, ttl))
        _renew_creds(invocation, client, str(document["id"]))
    expires = instant_of(document.get("expires_at"))
    if invocation.json:
        emit(document)
    elif invocation.quiet:
        say(printable(document.get("expires_at")))
    else:
        say(f"{printable(document['name'])} expires {relative(expires)} ({document.get('expires_at')})")
        if document.get("capped"):
            say(f"That is the maximum, {document.get('max_expires_at')}: less than {ttl} was added.")


def _renew_creds(invocation: Invocation, client: Client, sandbox_id: str) -> None:
    """Replace credentials that ``env`` wrote: they end with the old expiry."""
    from valhalla.cli import creds
    from valhalla.sdk.discovery import data_directory

    data_dir = data_directory(invocation.data_dir)
    if creds.path_for(data_dir, sandbox_id).exists():
        from valhalla.cli.sandbox.entry import enter

        entry = enter(client, sandbox_id)
        if entry.creds is not None:
            creds.save(data_dir, sandbox_id, entry.creds, entry.sandbox.expires_at)
