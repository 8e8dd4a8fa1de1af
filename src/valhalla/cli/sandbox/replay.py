"""``valhalla sandbox replay``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say
from valhalla.cli.text import printable


def _speed(value: str) -> float:
    if value == "max":
        return 0.0
    try:
        found = float(value)
    except ValueError:
        found = 0.0
    if not 0 < found <= 1_000_000:
        raise click.BadParameter(f"{value!r} is no speed: write 1, 2.5 or max.")
    return found


@click.command("replay")
@click.argument("name")
@click.argument("session", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--speed", type=_speed, default="1", show_default=True, metavar="N|max", help="How many times as fast.")
@click.option("--route", type=arguments.route, metavar="KIND:KEY", help="Instead: what production has had of this key.")
@click.option("--since", type=arguments.instant, metavar="TIME", help="With --route: from then on: 90m, or an instant.")
@click.option("--until", type=arguments.instant, metavar="TIME", help="With --route: what was stored before.")
@shared_options
@pass_invocation
def command(
    invocation: Invocation,
    name: str,
    session: Path | None,
    speed: float,
    route: tuple[str, str] | None,
    since: datetime | None,
    until: datetime | None,
) -> None:
    """Put a recorded session onto a sandbox's lane, in its order and at its pace, under new ids.

    With --route it is what production has had of a key that is linked to the sandbox. Ctrl-C ends it; what is on the
    lane stays.

    \b
    Example:
      valhalla sandbox replay try-it session.jsonl --speed max
      valhalla sandbox replay try-it --route tenant:acme --since 2h
    """
    if (session is None) == (route is None):
        raise click.UsageError("Say which: a file of a session, or --route KIND:KEY.")
    if route is None and (since is not None or until is not None):
        raise click.UsageError("--since and --until go with --route.")
    with invocation.client() as client:
        if session is not None:
            from valhalla.sdk.sessions import SessionInvalidError

            try:
                count = client.lanes.play(name, session, speed=speed)
            except SessionInvalidError as error:
                raise click.BadParameter(printable(str(error)), param_hint="'SESSION'") from None
        else:
            assert route is not None
            count = client.lanes.replay_past(name, *route, since=since, until=until)
    if invocation.json:
        emit({"sandbox": name, "events": count})
    else:
        say(f"replayed: {count} events -> {printable(name)}")
