"""``valhalla admin``: how things stand, and actions that pass the guard."""

from __future__ import annotations

import json
from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, listing, remark, say, table
from valhalla.cli.text import instant_of, printable, relative


@click.group("admin")
@shared_options
def command() -> None:
    """See how things stand, execute admin actions, read what was done.

    \b
    Example:
      valhalla admin status
      valhalla admin do key.revoke id=k3v9x0q2m1n8b7c6 --reason "it leaked"
    """


@command.command("status")
@shared_options
@pass_invocation
def status(invocation: Invocation) -> None:
    """Show mode, health, alerts, holds, queues, newest changes, keys that end soon, and windows.

    \b
    Example:
      valhalla admin status
    """
    with invocation.client() as client:
        from valhalla.sdk.operations import overview

        found: Any = client.document(overview())
    if invocation.json:
        emit(found)
        return
    health = found["health"]
    fields(
        invocation,
        [
            ("mode", found["mode"]["mode"]),
            ("health", "ready" if health["ready"] else f"not-ready: {health['reason']}"),
            ("failing", " ".join(health["failing"])),
            ("alerts", _counts(found["alerts"])),
            ("holds", found["holds"]),
            ("jobs", _counts(found["jobs"] or {})),
            ("drained", " ".join(one["worker"] for one in found.get("draining") or ())),
            ("ending keys", " ".join(one["name"] for one in found["expiring_keys"])),
            ("windows", " ".join(one["window"] for one in found["windows"])),
        ],
    )
    rows = [
        (relative(instant_of(one["at"])), one["registry"], one["op"], one["key"], one["actor"], one["reason"] or "")
        for one in found["changes"] or ()
    ]
    if rows:
        table(invocation, ["changed", "registry", "op", "key", "by", "reason"], rows)
    if found["stale"]:
        remark(invocation, "The database does not answer: what it counts is missing.")


@command.command("actions")
@shared_options
@pass_invocation
def actions(invocation: Invocation) -> None:
    """List the admin actions with their arguments.

    \b
    Example:
      valhalla admin actions
    """
    with invocation.client() as client:
        from valhalla.sdk.operations import list_actions

        found: Any = client.document(list_actions())
    listing(
        invocation,
        found,
        ["action", "arguments", "scope", "approval", "does"],
        lambda one: (
            one["name"],
            " ".join(_arguments(one["arguments"])),
            one["scope"],
            one["approval"] or "",
            one["summary"],
        ),
    )


@command.command("do")
@click.argument("action")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE...]")
@click.option("-r", "--reason", required=True, help="Why; kept in the ledger.")
@click.option("--key", metavar="TEXT", help="Do it once, however often this is sent (idempotency key).")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@shared_options
@pass_invocation
def do(
    invocation: Invocation, action: str, arguments: tuple[str, ...], reason: str, key: str | None, dry_run: bool
) -> None:
    """Execute an admin action. A value is JSON if it reads as JSON, else text.

    \b
    Example:
      valhalla admin do maintenance.set-mode mode=read_only --reason "moving the disk"
    """
    given = dict(_pair(text) for text in arguments)
    with invocation.client() as client:
        from valhalla.sdk.operations import execute

        found: Any = client.document(execute(action, given, reason=reason, key=key, dry_run=dry_run))
    if invocation.json:
        emit(found)
        return
    say(printable(found["operation"] if invocation.quiet else f"{found['status']}: {action}"))
    if found["result"] and not invocation.quiet:
        fields(invocation, [(name, json.dumps(value)) for name, value in found["result"].items()])
    if found["hold"] is not None:
        remark(invocation, f"Somebody else approves it: {invocation.again('hold', 'approve', found['hold'])}")


@command.command("handouts")
@shared_options
@pass_invocation
def handouts(invocation: Invocation) -> None:
    """List the secrets that wait for you, such as keys that were rotated; each waits for a day.

    \b
    Example:
      valhalla admin handouts
    """
    with invocation.client() as client:
        from valhalla.sdk.further_calls import handouts as waiting

        found: Any = client.document(waiting())
    listing(
        invocation,
        found,
        ["id", "action", "of", "until"],
        lambda one: (one["id"], one["action"], one["subject"], relative(instant_of(one["expires_at"]))),
        name="id",
    )


@command.command("take")
@click.argument("handout")
@shared_options
@pass_invocation
def take(invocation: Invocation, handout: str) -> None:
    """Take one of them, once; only the secret is printed.

    \b
    Example:
      valhalla admin take op4x9k2m1n8b7c6d > new.key
    """
    with invocation.client() as client:
        from valhalla.sdk.further_calls import take_handout

        found: Any = client.document(take_handout(handout))
    if invocation.json:
        emit(found)
    else:
        say(found["secret"])


@command.command("log")
@click.option("--actor", help="Only what this one asked for.")
@click.option("--operation", metavar="ID", help="Only this one.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many lines.")
@shared_options
@pass_invocation
def log(invocation: Invocation, limit: int, **filters: Any) -> None:
    """Show what was asked for and what it came to, newest first.

    \b
    Example:
      valhalla admin log --limit 20
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk.operations import list_operations

        found = collect(client, lambda size, cursor: list_operations(limit=size, cursor=cursor, **filters), limit)
    listing(
        invocation,
        found,
        ["at", "by", "action", "step", "operation", "reason"],
        lambda one: (
            one["at"],
            one["actor"],
            one["details"].get("action", ""),
            one["action"].removeprefix("admin."),
            one["subject"],
            one["details"].get("reason") or one["details"].get("code") or "",
        ),
        name="subject",
    )


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found.items() if count)


def _arguments(schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", [])
    return [name if name in required else f"[{name}]" for name in schema.get("properties", {})]


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"'{printable(text)}' is not NAME=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
