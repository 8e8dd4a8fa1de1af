"""``valhalla events``: what happens."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say
from valhalla.cli.text import printable

if TYPE_CHECKING:
    from valhalla.sdk.events import Event


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Go on, until Ctrl-C; lost connections are opened again.")
@click.option("-t", "--topic", "topics", multiple=True, help="sandbox, alert, job.ID, registry.flags …; repeatable.")
@click.option("--after", type=click.IntRange(0), help="What happened after this id (default: the newest, or from now).")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="Without --follow: how many.")
@shared_options
@pass_invocation
def command(invocation: Invocation, follow: bool, topics: tuple[str, ...], after: int | None, limit: int) -> None:
    """Show what happened, or what happens as it does. With --follow and --json each event is one line.

    \b
    Example:
      valhalla events --follow --topic sandbox --topic alert
    """
    with invocation.client() as client:
        if follow:
            for event in client.events.follow(
                *topics, after=after, missed=lambda: remark(invocation, "Too much happened meanwhile: some is missed.")
            ):
                _show(invocation, event)
                sys.stdout.flush()
            return
        from valhalla.sdk.events import page

        request = page(topics, after, limit)
        document: Any = client.document(request)
        if invocation.json:
            emit(document)
            return
        found = request.decode(document)
        for event in found.items:
            _show(invocation, event)
        if found.reset:
            remark(invocation, "What came right after this id is not kept any more.")


def _show(invocation: Invocation, event: Event) -> None:
    if invocation.json:
        import msgspec

        say(msgspec.json.encode(event).decode())
    elif invocation.quiet:
        say(printable(event.subject))
    else:
        data = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in event.data.items())
        stamp = event.at.astimezone().strftime("%H:%M:%S")
        say(printable(f"{stamp}  {event.type:<24}  {event.subject}  {data}"))
