"""``valhalla honeypot``: sensors, decoys, and what they caught."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, remark, say, table
from valhalla.cli.registry import Words, add_commands, registry_group
from valhalla.cli.text import printable


@click.group("honeypot")
@shared_options
def command() -> None:
    """Register sensors, put up decoys, see who touched them.

    \b
    Example:
      valhalla honeypot new dmz-ssh --type cowrie
      valhalla honeypot decoy key ci-backup
      valhalla honeypot activity
    """


add_commands(
    command,
    Words("honeypot", "honeypots", "name", ("type", "location", "active")),
    "dmz-ssh",
    ("ls", "get", "set", "rm", "history"),
)
decoys = registry_group(
    "honeypot decoy", "decoys", key="name", columns=("kind", "path", "face", "enabled"), example="wp-login"
)
command.add_command(decoys, "decoy")


@command.command("new")
@click.argument("name")
@click.option("--type", "kind", type=click.Choice(["opencanary", "cowrie", "other"]), default="other")
@click.option("--location", help="Where it stands.")
@click.option("--network", "networks", multiple=True, help="Where its key may be used from. Repeatable.")
@shared_options
@pass_invocation
def new(invocation: Invocation, name: str, kind: str, location: str | None, networks: tuple[str, ...]) -> None:
    """Register a sensor and print its key, this once.

    \b
    Example:
      valhalla honeypot new dmz-ssh --type cowrie --network 10.0.0.0/8
    """
    body = {"name": name, "type": kind, "location": location, "networks": list(networks)}
    with invocation.client() as client:
        from valhalla.sdk.registries import RegistryCalls

        found: dict[str, Any] = client.document(RegistryCalls("honeypots").create(body))
    if invocation.json:
        emit(found)
        return
    say(found["key"])
    remark(invocation, "It is not shown again. The sensor sends it as 'Authorization: Bearer …'.")


@command.command("off")
@click.argument("name")
@shared_options
@pass_invocation
def off(invocation: Invocation, name: str) -> None:
    """Take nothing of a sensor any more.

    \b
    Example:
      valhalla honeypot off dmz-ssh
    """
    _switch(invocation, name, active=False)


@command.command("on")
@click.argument("name")
@shared_options
@pass_invocation
def on(invocation: Invocation, name: str) -> None:
    """Take what a sensor sends again.

    \b
    Example:
      valhalla honeypot on dmz-ssh
    """
    _switch(invocation, name, active=True)


@command.command("rotate")
@click.argument("name")
@click.option("--grace", type=arguments.duration, default="0s", help="How long the old key is taken beside it: 1h.")
@shared_options
@pass_invocation
def rotate(invocation: Invocation, name: str, grace: timedelta) -> None:
    """Give a sensor a new key and print it, this once.

    \b
    Example:
      valhalla honeypot rotate dmz-ssh --grace 1h
    """
    with invocation.client() as client:
        from valhalla.sdk import honeypots

        found: dict[str, Any] = client.document(honeypots.rotate(name, {"grace_seconds": int(grace.total_seconds())}))
    if invocation.json:
        emit(found)
    else:
        say(found["key"])


@command.command("events")
@click.option("--honeypot", help="Only of this one; 'decoys' are our own.")
@click.option("--kind", help="Only this kind: scan, auth_attempt, decoy_path …")
@click.option("--address", help="Only of this address.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def events(invocation: Invocation, limit: int, **filters: Any) -> None:
    """Show what was caught, newest first.

    \b
    Example:
      valhalla honeypot events --address 203.0.113.7
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk import honeypots

        found = collect(client, lambda size, cursor: honeypots.events(limit=size, cursor=cursor, **filters), limit)
    if invocation.json:
        emit(found)
        return
    rows = [
        (one["at"], one["honeypot"], one["kind"], one["address"] or "", str(one["score"]), _what(one["payload"] or {}))
        for one in found["items"]
    ]
    table(invocation, ["at", "honeypot", "kind", "address", "score", "what"], rows)


@command.command("activity")
@click.option("--hours", type=click.IntRange(1, 168), default=24, show_default=True, help="How far back.")
@shared_options
@pass_invocation
def activity(invocation: Invocation, hours: int) -> None:
    """Show what was caught lately, and which addresses score most.

    \b
    Example:
      valhalla honeypot activity --hours 1
    """
    with invocation.client() as client:
        from valhalla.sdk import honeypots

        found: dict[str, Any] = client.document(honeypots.activity(hours=hours))
    if invocation.json:
        emit(found)
        return
    shown = ", ".join(f"{count} {name}" for name, count in found["kinds"].items())
    fields(invocation, [("since", found["since"]), ("caught", shown or "nothing")])
    rows = [(one["address"], str(one["score"]), str(one["events"]), one["last_at"]) for one in found["addresses"]]
    if rows:
        table(invocation, ["address", "score", "events", "last"], rows)


@decoys.command("key")
@click.argument("name")
@click.option("--description", help="Where it was put.")
@shared_options
@pass_invocation
def decoy_key(invocation: Invocation, name: str, description: str | None) -> None:
    """Make a decoy API key and print it, this once: whoever uses it is blocked, and you are alerted.

    \b
    Example:
      valhalla honeypot decoy key ci-backup --description "in the wiki"
    """
    with invocation.client() as client:
        from valhalla.sdk import honeypots

        found: dict[str, Any] = client.document(honeypots.decoy_key({"name": name, "description": description}))
    if invocation.json:
        emit(found)
        return
    say(found["key"])
    remark(invocation, "Put it where only a thief looks. It opens nothing.")


def _switch(invocation: Invocation, name: str, *, active: bool) -> None:
    with invocation.client() as client:
        from valhalla.sdk import honeypots

        call = honeypots.activate(name) if active else honeypots.deactivate(name)
        found: dict[str, Any] = client.document(call)
    if invocation.json:
        emit(found)
    else:
        fields(invocation, [("name", found["name"]), ("active", "yes" if found["active"] else "no")])


def _what(payload: dict[str, Any]) -> str:
    return printable(" ".join(str(payload[name]) for name in ("decoy", "method", "path", "input") if payload.get(name)))
