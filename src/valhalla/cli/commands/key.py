"""``valhalla key``: who may ask the control plane for what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say, table
from valhalla.cli.registry import Words, add_commands
from valhalla.cli.text import instant_of, printable, relative


@click.group("key")
@shared_options
def command() -> None:
    """Make, list, change, rotate and revoke API keys.

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
    help="sandbox:read, flags:*, admin, role:NAME for quorums …; repeatable (docs/api-clients.md lists them).",
)
@click.option("-r", "--role", type=click.Choice(["viewer", "developer", "operator", "admin"]), help="A trade's scopes.")
@click.option("--name", help="What it is for.")
@click.option("--expires-in", type=arguments.duration, help="When it ends by itself: 30d (default: never).")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="Only from here; repeatable.")
@click.option("--limit", "limits", multiple=True, metavar="RATE", help="Its own rate limit: 100/minute; repeatable.")
@shared_options
@pass_invocation
def new(
    invocation: Invocation,
    owner: str,
    scopes: tuple[str, ...],
    role: str | None,
    name: str | None,
    expires_in: timedelta | None,
    networks: tuple[str, ...],
    limits: tuple[str, ...],
) -> None:
    """Make a key; it is shown this once.

    \b
    Example:
      valhalla key new --owner team-a --scope sandbox:write
    """
    if not scopes and role is None:
        raise click.UsageError("give a --role or at least one --scope.")
    with invocation.client() as client:
        from valhalla.sdk import calls

        expires_at = None if expires_in is None else datetime.now(UTC) + expires_in
        request = calls.create_key(
            owner=owner,
            scopes=scopes,
            role=role,
            name=name,
            expires_at=expires_at,
            networks=networks,
            limits=limits,
        )
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
        headers = ["id", "name", "owner", "rights", "prefix", "active", "used", "expires"]
        rows = [
            (
                key["id"],
                key.get("name") or "",
                key["owner"],
                " ".join([*([key["role"]] if key.get("role") else []), *(key.get("scopes") or ())]),
                key.get("prefix") or "",
                "yes" if key.get("active", True) else "no",
                relative(instant_of(key.get("last_used_at"))),
                relative(instant_of(key.get("expires_at"))) if key.get("expires_at") else "never",
            )
            for key in keys
        ]
        table(invocation, headers, rows)


@command.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option(
    "--grace",
    type=arguments.duration,
    default="1h",
    show_default=True,
    help="How long the old key is taken too; 0s: not.",
)
@shared_options
@pass_invocation
def rotate(invocation: Invocation, key_id: str, grace: timedelta) -> None:
    """Give a client a new key, shown this once; the old one ends after the grace.

    \b
    Example:
      valhalla key rotate k3v9x0q2m1n8b7c6 --grace 24h
    """
    with invocation.client() as client:
        from valhalla.sdk import calls

        document = client.document(calls.rotate_key(key_id, round(grace.total_seconds())))
    if invocation.json:
        emit(document)
        return
    say(document["key"])
    remark(invocation, f"The new key of {printable(key_id)}; it is not shown again.")


def _switch(verb: str, meaning: str) -> None:
    @command.command(verb, help=f"{meaning}\n\n\b\nExample:\n  valhalla key {verb} k3v9x0q2m1n8b7c6")
    @click.argument("key_id", metavar="ID")
    @click.option("--confirm", is_flag=True, help="Also if nobody could administer keys afterwards.")
    @shared_options
    @pass_invocation
    def switch(invocation: Invocation, key_id: str, confirm: bool) -> None:
        with invocation.client() as client:
            from valhalla.sdk import calls

            document = client.document(calls.switch_key(key_id, active=verb == "activate", confirm=confirm))
        if invocation.json:
            emit(document)
        else:
            say(printable(key_id) if invocation.quiet else f"{verb}d: {printable(key_id)}")


_switch("activate", "Take a client's keys again.")
_switch("deactivate", "Take a client's keys no longer, until it is activated again.")


@command.command("revoke")
@click.argument("key_id", metavar="ID")
@click.option("--confirm", is_flag=True, help="Also the last one that can administer keys.")
@shared_options
@pass_invocation
def revoke(invocation: Invocation, key_id: str, confirm: bool) -> None:
    """End a key at once, everywhere.

    \b
    Example:
      valhalla key revoke k3v9x0q2m1n8b7c6
    """
    with invocation.client() as client:
        client.keys.revoke(key_id, confirm=confirm)
    if invocation.json:
        emit({"id": key_id, "revoked": True})
    else:
        say(printable(key_id) if invocation.quiet else f"revoked: {printable(key_id)}")


add_commands(
    command, Words("key", "keys", "id", ("name", "owner")), "k3v9x0q2m1n8b7c6", ("get", "set", "history", "diff")
)
