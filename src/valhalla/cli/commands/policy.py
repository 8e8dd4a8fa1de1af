"""``valhalla policy``: what requests may not do, beyond who may and how much."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, table
from valhalla.cli.registry import pair, registry_group
from valhalla.cli.text import printable

command = registry_group(
    "policy", "policies", key="name", columns=("action", "on", "priority", "shadow", "enabled", "when"), example="scans"
)


@command.command("usage")
@shared_options
@pass_invocation
def usage(invocation: Invocation) -> None:
    """Show what became of each policy in the process that answers, shadows included.

    \b
    Example:
      valhalla policy usage
    """
    with invocation.client() as client:
        from valhalla.sdk import policies

        found: dict[str, Any] = client.document(policies.usage())
    if invocation.json:
        emit(found)
        return
    rows = [
        (one["name"], *(str(one[name]) for name in ("matched", "shadowed", "failed")), one["last_at"] or "")
        for one in found["items"]
    ]
    table(invocation, ["name", "matched", "shadowed", "failed", "last"], rows)


@command.command("test")
@click.argument("path")
@click.option("-X", "--method", default="GET", show_default=True, help="Of the request.")
@click.option("--address", help="Whose request it is: 203.0.113.7.")
@click.option("--scope", "scopes", multiple=True, help="What its key holds; without one it is anonymous. Repeatable.")
@click.option("--owner", default="", help="Whose key it is.")
@click.option("--count", "counters", multiple=True, metavar="NAME=NUMBER", help="As failed_auth=12. Repeatable.")
@click.option("--header", "headers", multiple=True, metavar="NAME=TEXT", help="Repeatable.")
@click.option("--mode", type=click.Choice(["normal", "elevated", "lockdown"]), help="The present one when absent.")
@click.option("--when", help="A condition to try, with --action.")
@click.option(
    "--action", type=click.Choice(["allow", "log", "challenge", "block", "elevate", "hold"]), default="challenge"
)
@shared_options
@pass_invocation
def test(
    invocation: Invocation,
    path: str,
    method: str,
    address: str | None,
    scopes: tuple[str, ...],
    owner: str,
    counters: tuple[str, ...],
    headers: tuple[str, ...],
    mode: str | None,
    when: str | None,
    action: str,
) -> None:
    """Say what the policies would make of a request; nothing is done or counted.

    \b
    Example:
      valhalla policy test /api/sandboxes --count failed_auth=12 --mode elevated
      valhalla policy test /x --when 'request.path.startsWith("/x")' --action block
    """
    asked: dict[str, Any] = {
        "path": path,
        "method": method,
        "counters": dict(pair(each) for each in counters),
        "headers": {name: str(text) for name, text in (pair(each) for each in headers)},
    }
    optional: dict[str, Any] = {
        "address": address,
        "mode": mode,
        "principal": {"id": "test", "owner": owner, "scopes": list(scopes)} if scopes or owner else None,
        "policy": None if when is None else {"when": when, "action": action},
    }
    with invocation.client() as client:
        from valhalla.sdk import policies

        body = asked | {name: value for name, value in optional.items() if value is not None}
        found: dict[str, Any] = client.document(policies.test(body))
    if invocation.json:
        emit(found)
        return
    fields(invocation, [("outcome", found["outcome"] or "passes"), ("policy", found["policy"])])
    rows = [
        (
            printable(one["name"]),
            one["action"],
            "yes" if one["matched"] else one["error"] or "no",
            "yes" if one["shadow"] else "",
        )
        for one in found["verdicts"]
    ]
    table(invocation, ["policy", "action", "matches", "shadow"], rows)
