"""What a command prints: JSON, lines or a table on stdout; remarks and progress on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO

import click

from valhalla.cli.invocation import Invocation
from valhalla.cli.text import printable, width

COLOURS: Final = {
    "running": "green",
    "healthy": "green",
    "ready": "green",
    "ok": "green",
    "pending": "yellow",
    "creating": "yellow",
    "degraded": "yellow",
    "expired": "red",
    "destroying": "red",
    "unhealthy": "red",
    "not-ready": "red",
    "failed": "red",
    "destroyed": "bright_black",
}
# most commands end before this; nobody sees a spinner flash, and rich is not imported for them
_SPINNER_AFTER: Final = 0.4


def wants_colour(stream: TextIO, invocation: Invocation) -> bool:
    """Say whether colours help whoever reads ``stream``."""
    refused = invocation.no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return not refused and stream.isatty()


def emit(document: object) -> None:
    """Print a document as JSON."""
    import json

    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def say(text: str) -> None:
    """Print a line of the result."""
    sys.stdout.write(text + "\n")


def remark(invocation: Invocation, text: str) -> None:
    """Print a line that is not part of the result, unless quiet was asked for."""
    if not invocation.quiet:
        sys.stderr.write(text + "\n")


def paint(invocation: Invocation, text: str, state: str | None = None) -> str:
    """Colour ``text`` as its state deserves, when stdout is a terminal that wants it."""
    colour = COLOURS.get(state or text)
    return click.style(text, fg=colour) if colour and wants_colour(sys.stdout, invocation) else text


def table(invocation: Invocation, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns; a cell that is the name of a state is coloured."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(width(row[i]) for row in [list(headers), *cells]) for i in range(len(headers))]
    bold = wants_colour(sys.stdout, invocation)
    say(click.style(_row(headers, widths), bold=True) if bold else _row(headers, widths))
    for row in cells:
        padded = [cell + " " * (widths[i] - width(cell)) for i, cell in enumerate(row)]
        painted = [paint(invocation, pad, cell) for pad, cell in zip(padded, row, strict=True)]
        say("  ".join(painted).rstrip())


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.upper().ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip()


def listing(
    invocation: Invocation,
    found: Mapping[str, Any],
    headers: Sequence[str],
    row: Callable[[Any], Sequence[object]],
    *,
    name: str = "name",
) -> None:
    """Print a list as a document, as the ``name`` of each (``-q``), or as a table with a ``row`` for each."""
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for one in found["items"]:
            say(printable(one[name]))
    else:
        table(invocation, headers, [row(one) for one in found["items"]])


def fields(invocation: Invocation, members: Sequence[tuple[str, Any]]) -> None:
    """Print ``name  value`` lines; absent values are left out."""
    shown = [(name, printable(value)) for name, value in members if value not in (None, "", [], {})]
    longest = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        say(f"  {name.ljust(longest)}  {paint(invocation, value)}")


@contextmanager
def working(invocation: Invocation, text: str) -> Generator[None]:
    """Show a spinner on a terminal while something takes longer than a moment."""
    if invocation.quiet or invocation.json or not (sys.stderr.isatty() and sys.stdout.isatty()):
        yield
        return
    import threading

    done = threading.Event()

    def spin() -> None:
        if done.wait(_SPINNER_AFTER):
            return
        from rich.console import Console

        with Console(stderr=True, no_color=not wants_colour(sys.stderr, invocation)).status(text):
            done.wait()

    spinner = threading.Thread(target=spin, daemon=True)
    spinner.start()
    try:
        yield
    finally:
        done.set()
        spinner.join()
