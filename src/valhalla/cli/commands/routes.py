"""``valhalla routes``: what the control plane serves, and what would stop a request."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, remark, say, table
from valhalla.cli.text import printable


@click.group("routes")
@shared_options
def command() -> None:
    """See every route, what would stop a request, and what boots changed.

    \b
    Example:
      valhalla routes ls --search sandbox
      valhalla routes match POST /api/sandboxes --scopes sandbox:read
    """


@command.command("ls")
@click.option("--search", "q", help="In path, name or summary.")
@click.option("--method", help="Only those with this method.")
@click.option("--tag", help="Only those with this tag.")
@click.option("--scope", help="Only those that need this scope.")
@click.option("--flag", help="Only those that read this feature flag.")
@click.option("--public", is_flag=True, default=None, help="Only those that need no key.")
@shared_options
@pass_invocation
def ls(invocation: Invocation, **filters: Any) -> None:
    """List the routes with what they need and what they did in the process that answers.

    \b
    Example:
      valhalla routes ls --tag jobs
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk.operations import list_routes

        found = collect(client, lambda size, cursor: list_routes(limit=size, cursor=cursor, **filters), None)
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for route in found["items"]:
            say(printable(route["id"]))
    else:
        rows = [
            (
                route["id"],
                "public" if route["public"] else route["scope"] or "",
                " ".join(route["limits"]),
                route["requests"],
                route["errors"],
                _time(route["p50"]),
                _time(route["p99"]),
            )
            for route in found["items"]
        ]
        table(invocation, ["route", "needs", "limits", "requests", "errors", "p50", "p99"], rows)


@command.command("match")
@click.argument("method")
@click.argument("path")
@click.option("--key", metavar="ID", help="As this API key (default: as your own).")
@click.option("--scopes", help="With these scopes instead, with commas between them.")
@click.option("--anonymous", is_flag=True, help="Without a key.")
@click.option("--address", help="From this address.")
@shared_options
@pass_invocation
def match(invocation: Invocation, method: str, path: str, **of: Any) -> int:
    """Say which route would answer and what would stop the request (exit code 1). Nothing is sent.

    \b
    Example:
      valhalla routes match POST /api/sandboxes --scopes sandbox:read
    """
    with invocation.client() as client:
        from valhalla.sdk.operations import match_route

        found: Any = client.document(match_route(method, path, **of))
    if invocation.json:
        emit(found)
    else:
        route = found["route"]
        fields(
            invocation,
            [
                ("route", None if route is None else route["id"]),
                ("needs", None if route is None else route["scope"]),
                ("limits", None if route is None else " ".join(route["limits"])),
                ("methods", " ".join(found["methods"])),
                ("passes", "yes" if found["allowed"] else "no"),
            ],
        )
        for stop in found["stops"]:
            say(printable(f"  {stop['by']}: {stop['status']} {stop['code']}: {stop['detail']}"))
    return 0 if found["allowed"] else 1


@command.command("changes")
@click.option("--limit", type=click.IntRange(1, 200), default=10, show_default=True, help="At most so many boots.")
@shared_options
@pass_invocation
def changes(invocation: Invocation, limit: int) -> None:
    """Show the boots that served other routes than the one before.

    \b
    Example:
      valhalla routes changes
    """
    with invocation.client() as client:
        from valhalla.sdk.operations import route_changes

        found: Any = client.document(route_changes(limit=limit))
    if invocation.json:
        emit(found)
        return
    for boot in found["items"]:
        say(printable(f"{boot['at']}  release {boot['release']}: {boot['routes']} routes"))
        if boot["before"] is None:
            continue
        for sign, ids in (("+", boot["added"]), ("-", boot["removed"]), ("~", boot["changed"])):
            for id_ in ids:
                say(printable(f"  {sign} {id_}"))
    if not found["items"]:
        remark(invocation, "No boot has been compared yet.")


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f} ms"
