"""``valhalla sandbox record``."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark
from valhalla.cli.text import printable


@click.command("record")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file (default: print it).")
@click.option("--since", type=arguments.instant, metavar="TIME", help="Only what was stored then: 90m, or an instant.")
@click.option("-f", "--follow", is_flag=True, help="What comes from now on, until Ctrl-C; with --since also before.")
@click.option("--for", "period", type=arguments.duration, metavar="DURATION", help="With --follow: for so long.")
@click.option("--redact", multiple=True, metavar="NAME", help="Mask members of this name in the data; repeat it.")
@shared_options
@pass_invocation
def command(
    invocation: Invocation,
    name: str,
    output: Path | None,
    since: datetime | None,
    follow: bool,
    period: timedelta | None,
    redact: tuple[str, ...],
) -> None:
    """Write a sandbox's live events into a file, as a fixture for other sandboxes and tests.

    Without --follow it is what the lane has now. Nothing is acknowledged: the sandbox does not notice.

    \b
    Example:
      valhalla sandbox record try-it -o session.jsonl --redact email
      valhalla sandbox record try-it -o session.jsonl --follow --for 5m
    """
    if period is not None and not follow:
        raise click.UsageError("--for goes with --follow.")
    seconds = 0.0
    if follow:
        seconds = math.inf if period is None else period.total_seconds()
        since = since or datetime.now(UTC)
    count = 0
    with invocation.client() as client:
        lines = client.lanes.record(name, since=since, redact=redact, seconds=seconds)
        # a sandbox that does not exist makes no file
        head = next(lines)
        with _opened(output) as file, contextlib.suppress(KeyboardInterrupt):
            file.write(head)
            for line in lines:
                file.write(line)
                file.flush()
                count += 1
    if output is None:
        return
    if invocation.json:
        emit({"file": str(output), "events": count})
    else:
        remark(invocation, f"recorded: {count} events of {printable(name)} -> {output}")


@contextlib.contextmanager
def _opened(output: Path | None) -> Generator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with output.open("w", encoding="utf-8") as file:
        yield file
