"""``valhalla logs``: what the control plane and its clients logged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, paint, remark, say
from valhalla.cli.text import printable

_STATES = {"warning": "degraded", "error": "failed", "critical": "failed"}


@click.command("logs")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes; Ctrl-C ends it.")
@click.option(
    "--level", type=click.Choice(["debug", "info", "warning", "error", "critical"]), help="This and those above."
)
@click.option("--category", help="Only of this part, such as gate or shop.payments.")
@click.option("--text", help="Only with these words, or words that begin so.")
@click.option("--correlation", "correlation_id", help="Only of this correlation id.")
@click.option("--principal", help="Only of this client's id.")
@click.option("--origin", type=click.Choice(["server", "access", "client"]), help="Only by these.")
@click.option("--since", help="Only the last of them: 15m, 2h, or an instant.")
@click.option("--limit", type=click.IntRange(min=1, max=200), default=50, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def command(invocation: Invocation, *, follow: bool, since: str | None, limit: int, **filters: Any) -> None:
    """Show log lines, the newest at the end.

    \b
    Example:
      valhalla logs --level warning --since 15m
      valhalla logs --follow --category gate
    """
    wanted = {name: value for name, value in filters.items() if value is not None}
    if since is not None:
        wanted["since"] = _since(since)
    with invocation.client() as client:
        from valhalla.sdk.logs import query_logs

        page = client.document(query_logs(limit=limit, **wanted))
        if invocation.json and not follow:
            emit(page)
            return
        shown = {line["id"] for line in page["items"]}
        for line in reversed(page["items"]):
            _show(invocation, line)
        if not follow:
            if not page["items"]:
                remark(invocation, "No lines.")
            return
        import time

        while True:
            page = client.document(query_logs(limit=200, after=page["newest"], **wanted))
            for line in page["items"]:
                if line["id"] not in shown:
                    _show(invocation, line)
            if not page["items"]:
                time.sleep(1)


def _since(text: str) -> str:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.now(UTC) - arguments.duration(text)
    return (instant if instant.tzinfo is not None else instant.astimezone()).isoformat()


def _show(invocation: Invocation, line: Mapping[str, Any]) -> None:
    if invocation.json:
        say(json.dumps(line, ensure_ascii=False))
        return
    level = paint(invocation, f"{line['level']:8}", _STATES.get(line["level"]))
    context = "" if not line.get("context") else "  " + json.dumps(line["context"], ensure_ascii=False)
    correlation = f"  [{line['correlation_id']}]" if line.get("correlation_id") else ""
    say(f"{line['at'][:23]} {level} {line['category']}: {printable(line['message'])}{correlation}{printable(context)}")
