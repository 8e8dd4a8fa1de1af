"""``valhalla traces``: which requests and jobs failed or were slow, and what happened inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, paint, remark, say, table
from valhalla.cli.text import printable


@click.group("traces")
@shared_options
def command() -> None:
    """Look at traces: those that failed or were slow, and a share of the rest.

    \b
    Example:
      valhalla traces list --status error --since 1h
      valhalla traces show 4bf92f3577b34da6a3ce929d0e0e4736
    """


@command.command("list")
@click.option("--name", help="Only of this route or job: 'POST /api/sandboxes'.")
@click.option("--status", type=click.Choice(["ok", "error"]), help="Only these.")
@click.option("--slower-than", type=click.FloatRange(0, 86_400), metavar="SECONDS", help="Only those that took longer.")
@click.option("--correlation", "correlation_id", help="Only of this correlation id.")
@click.option("--since", help="Only the last of them: 15m, 2h, or an instant.")
@click.option("--limit", type=click.IntRange(min=1, max=200), default=50, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def listed(invocation: Invocation, since: str | None, **wanted: Any) -> None:
    """List traces by their first spans, the newest first.

    \b
    Example:
      valhalla traces list --slower-than 0.5
    """
    with invocation.client() as client:
        from valhalla.sdk.traces import page

        found = client.document(page(since=None if since is None else _since(since), **wanted))
    if invocation.json:
        emit(found)
        return
    if not found["items"]:
        remark(invocation, "No traces.")
        return
    rows = [
        (span["trace_id"], span["name"], span["status"], _took(span), span["started_at"], span["correlation_id"] or "")
        for span in found["items"]
    ]
    table(invocation, ["trace", "name", "status", "took", "started", "correlation"], rows)


@command.command("show")
@click.argument("trace_id")
@shared_options
@pass_invocation
def show(invocation: Invocation, trace_id: str) -> None:
    """Show a trace as a tree.

    \b
    Example:
      valhalla traces show 4bf92f3577b34da6a3ce929d0e0e4736
    """
    with invocation.client() as client:
        from valhalla.sdk.traces import show as asked

        found = client.document(asked(trace_id.strip().lower()))
    if invocation.json:
        emit(found)
        return
    say(f"{found['trace_id']}  {found['spans']} spans")
    for root in found["roots"]:
        _branch(invocation, root, "", last=True, top=True)


def _branch(invocation: Invocation, node: Mapping[str, Any], before: str, *, last: bool, top: bool = False) -> None:
    mark = "" if top else ("└─ " if last else "├─ ")
    failed = paint(invocation, " failed", "failed") if node["status"] == "error" else ""
    service = "" if node["service"] == "valhalla" else f"  [{printable(node['service'])}]"
    say(f"{before}{mark}{printable(node['name'])}  {_took(node)}{failed}{service}")
    children: Sequence[Mapping[str, Any]] = node["children"]
    deeper = before if top else before + ("   " if last else "│  ")
    for number, child in enumerate(children):
        _branch(invocation, child, deeper, last=number == len(children) - 1)


def _took(span: Mapping[str, Any]) -> str:
    seconds = span["seconds"]
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _since(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.now(UTC) - arguments.duration(text)
    return instant if instant.tzinfo is not None else instant.astimezone()
