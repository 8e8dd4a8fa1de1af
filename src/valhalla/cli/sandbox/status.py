"""``valhalla sandbox status``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from valhalla.cli.documents import mapping, sequence
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, paint, say, table
from valhalla.cli.text import instant_of, printable, relative


@click.command("status")
@click.argument("name")
@click.option("-w", "--watch", is_flag=True, help="Show it again and again until it is destroyed.")
@click.option(
    "-i",
    "--interval",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Seconds between two looks.",
)
@shared_options
@pass_invocation
def command(invocation: Invocation, name: str, watch: bool, interval: float) -> None:
    """Show a sandbox's health, tried with its own credentials.

    \b
    Example:
      valhalla sandbox status try-it --watch
    """
    with invocation.client() as client:
        from valhalla.sdk import calls

        while True:
            health = client.document(calls.status(name))
            _print(invocation, health, watch=watch)
            if not watch or health.get("status") == "destroyed":
                return
            sys.stdout.flush()
            time.sleep(interval)


def _print(invocation: Invocation, health: dict[str, Any], *, watch: bool) -> None:
    if invocation.json:
        # one document a line, so that a reader of --watch knows where each ends
        say(json.dumps(health, ensure_ascii=False)) if watch else emit(health)
        return
    level = str(health.get("health", "unknown"))
    if invocation.quiet:
        say(f"{printable(health['name'])}: {level}")
        return
    if watch and sys.stdout.isatty():
        sys.stdout.write("\x1b[H\x1b[2J")
    say(f"{printable(health['name'])} is {paint(invocation, level)}")
    expires = relative(instant_of(health.get("expires_at")))
    reasons = "; ".join(str(reason) for reason in sequence(health, "reasons"))
    members = [("status", health.get("status")), ("expires", expires), ("database", place_of(health))]
    fields(invocation, [*members, ("events", lane_of(health)), ("reasons", reasons)])
    rows = [check_row(part, check) for part, check in mapping(health, "checks").items()]
    if rows:
        say("")
        table(invocation, ["check", "state", "latency", "reason"], rows)


def lane_of(health: Mapping[str, Any]) -> str | None:
    """Return how the lane of live events is, if there is one."""
    lane = mapping(health, "lane")
    if not lane or not (lane["events"] or lane["dead_letters"] or sequence(health, "routes")):
        return None
    unread = f"{lane['waiting'] + lane['unacknowledged']} unread"
    if lane["oldest_unread_seconds"] is not None:
        unread += f" (the oldest for {lane['oldest_unread_seconds']:.0f} s)"
    size = f"{lane['bytes'] / 2**20:.1f} of {lane['byte_quota'] / 2**20:.0f} MB"
    return f"{lane['events']} of {lane['quota']} kept, {size}, {unread}, {lane['dead_letters']} dead letters"


def place_of(health: Mapping[str, Any]) -> str | None:
    """Return where the Postgres slice is: its arena, or that the database is its own."""
    if not health.get("database"):
        return None
    return f"{health['database']} ({'its own' if health.get('isolation') == 'database' else 'an arena'})"


def check_row(part: str, check: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return one check as a row: part, state, latency, reason."""
    latency = check.get("latency_ms")
    shown = f"{latency:.1f} ms" if isinstance(latency, (int, float)) else ""
    return part, "ok" if check.get("ok") else "failed", shown, str(check.get("reason") or "")
