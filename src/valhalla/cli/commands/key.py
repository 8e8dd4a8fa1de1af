"""``valhalla key``: who may ask the control plane for what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say, table
from valhalla.cli.text import instant_of, printable, relative


@click.group("key")
@shared_options
def command() -> None:
    """Make, list and revoke API keys. For admins.

    \b
    Example:
      export VALHALLA_API_KEY="$(valhalla key new --owner team-a --scope sandbox:write -q)"
    """


@command.command("new")
@click.option("-o", "--owner", required=True, help="Whose sandboxes the key makes and sees.")
@click.option(
    "-s",
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="sandbox:read, sandbox:write, holds:read, holds:approve, role:NAME, audit:read, admin; repeatable.",
)
@click.option("--name", help="What it is for.")
@click.option("--expires-in", type=arguments.duration, help="When it ends by itself: 30d (default: never).")
@shared_options
@pass_invocation
def new(
    invocation: Invocation, owner: str, scopes: tuple[str, ...], name: str | None, expires_in: timedelta | None
) -> None:
    """Make a key; it is shown this once.

    \b
    Example:
      valhalla key new --owner team-a --scope sandbox:write
    """
    with invocation.client() as client:
        from valhalla.sdk import calls

        expires_at = None if expires_in is None else datetime.now(UTC) + expires_in
        request = calls.create_key(owner=owner, scopes=scopes, name=name, expires_at=expires_at)
        document = client.document(request)
    if invocation.json:
        emit(document)
        return
    say(document["key"])
    remark(invocation, f"Key {document['id']} of {printable(owner)}; it is not shown again.")


@command.command("ls")
@shared_options
@pass_invocation
def ls(invocation: Invocation) -> None:
    """List the keys, without their secrets.

    \b
    Example:
      valhalla key ls
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk import calls

        found = collect(client, lambda size, cursor: calls.list_keys(limit=size, cursor=cursor), None)
    keys = found["items"]
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for key in keys:
            say(key["id"])
    else:
        headers = ["id", "name", "owner", "scopes", "prefix", "created", "expires"]
        rows = [
            (
                key["id"],
                key.get("name") or "",
                key["owner"],
                " ".join(key.get("scopes") or ()),
                key.get("prefix") or "",
                relative(instant_of(key.get("created_at"))),
                relative(instant_of(key.get("expires_at"))) if key.get("expires_at") else "never",
            )
            for key in keys
        ]
        table(invocation, headers, rows)


@command.command("revoke")
@click.argument("key_id", metavar="ID")
@shared_options
@pass_invocation
def revoke(invocation: Invocation, key_id: str) -> None:
    """End a key at once, everywhere.

    \b
    Example:
      valhalla key revoke k3v9x0q2m1n8b7c6
    """
    with invocation.client() as client:
        client.keys.revoke(key_id)
    if invocation.json:
        emit({"id": key_id, "revoked": True})
    else:
        say(printable(key_id) if invocation.quiet else f"revoked: {printable(key_id)}")
