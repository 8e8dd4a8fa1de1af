"""``valhalla sandbox events``."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say
from valhalla.cli.text import printable


@click.command("events")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on, until Ctrl-C; lost connections are opened again.")
@click.option("--after", type=click.IntRange(0), help="Events behind this sequence (default: the oldest, or from now).")
@click.option("--since", type=arguments.instant, metavar="TIME", help="Only what was stored then: 90m, or an instant.")
@click.option("--until", type=arguments.instant, metavar="TIME", help="Without --follow: what was stored before.")
@click.option("--production", type=arguments.route, metavar="KIND:KEY", help="What production has of this route's key.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="Without --follow: how many.")
@shared_options
@pass_invocation
def command(
    invocation: Invocation,
    name: str,
    follow: bool,
    after: int | None,
    limit: int,
    since: datetime | None,
    until: datetime | None,
    production: tuple[str, str] | None,
) -> None:
    """Show the live events of a sandbox; it does not notice. With --json --follow each event is one line.

    \b
    Example:
      valhalla sandbox events try-it --follow
      valhalla sandbox events try-it --since 1h
    """
    from valhalla.sdk import lanes

    if follow and (until is not None or production is not None):
        raise click.UsageError("--follow goes with --after and --since, not with --until and --production.")
    with invocation.client() as client:
        if follow:
            for event in client.lanes.follow(name, after=after, since=since):
                _show(invocation, event)
                sys.stdout.flush()
            return
        if production is None:
            wanted = lanes.page(name, after=after, limit=limit, since=since, until=until)
        else:
            wanted = lanes.past(name, *production, after=after or 0, limit=limit, since=since, until=until)
        document: Any = client.document(wanted)
        if invocation.json:
            emit(document)
            return
        for event in document["items"]:
            _show(invocation, event)


def _show(invocation: Invocation, event: dict[str, Any]) -> None:
    if invocation.json:
        say(json.dumps(event))
    elif invocation.quiet:
        say(printable(str(event["id"])))
    else:
        data = json.dumps(event.get("data", event.get("data_base64")), ensure_ascii=False)
        mark = " (copy)" if event.get("mirrored") else ""
        place = f"{event['source'].removeprefix('/')}:{event['subject']}"
        say(printable(f"{event['sequence']:>8}  {event['type']:<24}  {place}{mark}  {data}"))
