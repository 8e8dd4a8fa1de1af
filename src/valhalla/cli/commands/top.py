"""``valhalla top``."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, wants_colour

if TYPE_CHECKING:
    from valhalla.sdk.client import Client


@click.command("top")
@click.option("--once", is_flag=True, help="Print it once and end; what happens without a terminal anyway.")
@click.option(
    "--interval", type=click.FloatRange(0.5), default=5.0, show_default=True, help="Look again after so many seconds."
)
@shared_options
@pass_invocation
def command(invocation: Invocation, once: bool, interval: float) -> None:
    """Watch approvals, alerts, jobs and sandboxes; approve and deny from here.

    \b
    Example:
      valhalla top
    """
    with invocation.client() as client:
        if once or invocation.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            _print(invocation, client)
        else:
            _run(invocation, client, interval)


def _print(invocation: Invocation, client: Client) -> None:
    from valhalla.cli.top.state import Screen
    from valhalla.cli.top.watching import see

    seen = see(client)
    if invocation.json:
        emit({name: value for name, value in asdict(seen).items() if value not in (None, "")})
        return
    from rich.console import Console

    from valhalla.cli.top.drawing import draw

    console = Console(no_color=not wants_colour(sys.stdout, invocation))
    console.print(draw(Screen(seen, at=-1), rows=20))


def _run(invocation: Invocation, client: Client, interval: float) -> None:
    import threading

    from rich.console import Console
    from rich.live import Live

    from valhalla.cli.top import state
    from valhalla.cli.top.drawing import draw
    from valhalla.cli.top.patience import Patience
    from valhalla.cli.top.terminal import keys
    from valhalla.cli.top.watching import decide, listen, see
    from valhalla.sdk.errors import Unreachable

    told = threading.Event()
    listen(client, told.set)
    screen, looked, patience = state.Screen(stale=True), 0.0, Patience()
    console = Console(no_color=not wants_colour(sys.stdout, invocation))
    with keys() as key, Live(draw(screen), console=console, screen=True, auto_refresh=False) as live:
        while not screen.quits:
            if screen.stale or told.is_set() or time.monotonic() - looked > interval:
                told.clear()
                try:
                    screen = state.look(screen, see(client, patience))
                except Unreachable as error:
                    screen = replace(screen, seen=replace(screen.seen, problem=str(error)), stale=False)
                looked = time.monotonic()
            live.update(draw(screen), refresh=True)
            if not (typed := key(0.25)):
                continue
            screen, decision = state.press(screen, typed)
            if decision is not None:
                screen = replace(screen, said=decide(client, decision), stale=True)
