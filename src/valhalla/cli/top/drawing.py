"""The screen as something rich can print. Everything that people wrote is text here, never markup."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from valhalla.cli.output import COLOURS
from valhalla.cli.text import instant_of, printable, relative
from valhalla.cli.top.state import Item, Screen

_COLOURS = {**COLOURS, "critical": "red", "error": "red", "dead": "red", "warning": "yellow", "held": "yellow"}
Cell = tuple[str, Callable[[Item], Any]]


def draw(screen: Screen, *, rows: int = 8) -> RenderableType:
    """Return the screen; each part has at most ``rows`` lines."""
    seen = screen.seen
    holds = _part(
        "Waiting for approval",
        seen.holds,
        [
            ("action", lambda each: each.get("action")),
            ("asked by", lambda each: each.get("requested_by")),
            ("with", lambda each: json.dumps(each.get("arguments"), ensure_ascii=False)),
            ("waits for", lambda each: each.get("missing") or ""),
            ("expires", lambda each: _when(each.get("expires_at"))),
        ],
        rows,
        at=screen.at,
    )
    alerts = _part(
        "Open alerts",
        seen.alerts,
        [
            ("severity", lambda each: each.get("severity")),
            ("title", lambda each: each.get("title")),
            ("source", lambda each: each.get("source")),
            ("last", lambda each: _when(each.get("last_at"))),
        ],
        rows,
    )
    jobs = _part(
        "Jobs",
        seen.jobs,
        [
            ("status", lambda each: each.get("status")),
            ("name", lambda each: each.get("name")),
            ("queue", lambda each: each.get("queue")),
            ("made", lambda each: _when(each.get("created_at"))),
        ],
        rows,
    )
    total = "" if seen.total is None else f" ({seen.total})"
    sandboxes = _part(
        f"Sandboxes{total}",
        seen.sandboxes,
        [
            ("status", lambda each: each.get("status")),
            ("name", lambda each: each.get("name")),
            ("owner", lambda each: each.get("owner")),
            ("ends", lambda each: _when(each.get("expires_at"))),
        ],
        rows,
    )
    parts = (part for part in (holds, alerts, jobs, sandboxes) if part is not None)
    # a small terminal shows the beginning only: what a key is about to decide must be there
    return Group(_head(screen), _asks(screen), *parts)


def _head(screen: Screen) -> RenderableType:
    overview = screen.seen.overview
    text = Text("Valhalla  ", style="bold")
    if screen.seen.problem:
        text.append("NO ANSWER", "bold red")
        text.append(f"  {printable(screen.seen.problem)}", "red")
        if overview is not None:
            text.append("  Below is what it said last.")
    elif overview is not None:
        health, mode = overview["health"], overview["mode"]["mode"]
        critical = int(dict[str, Any](overview.get("alerts") or {}).get("critical", 0))
        go = bool(health["ready"]) and mode == "normal" and not critical
        text.append("GO" if go else "NO-GO", "bold green" if go else "bold red")
        text.append(f"  {mode.replace('_', ' ')}", "green" if mode == "normal" else "yellow")
        if reason := health.get("reason") or overview["mode"].get("reason"):
            text.append(f"  {printable(reason)}")
        if critical:
            text.append(f"  critical alerts: {critical}", "red")
    return text


def _asks(screen: Screen) -> RenderableType:
    if screen.asked is not None:
        verb, hold = screen.asked
        asked = f"{verb} {hold['action']} of {hold['requested_by']}? y: yes, any other key: no"
        return Text(printable(asked), style="bold yellow")
    return Text(printable(screen.said) or "j k: choose   a: approve   d: deny   r: look again   q: quit", style="dim")


def _part(
    title: str, items: Sequence[Item] | None, cells: Sequence[Cell], rows: int, at: int | None = None
) -> RenderableType | None:
    if items is None:
        return None
    table = Table(box=None, expand=True, pad_edge=False)
    for name, _ in cells:
        # what can be long takes what the others leave
        share = {"ratio": 1} if name in ("with", "title", "name") else {"min_width": 9, "max_width": 32}
        table.add_column(name, no_wrap=True, overflow="ellipsis", header_style="dim", **share)  # type: ignore[arg-type]
    for number, item in enumerate(items[:rows]):
        values = ["" if (said := value(item)) is None else printable(str(said)) for _, value in cells]
        texts = [Text(value, style=_COLOURS.get(value, "")) for value in values]
        table.add_row(*texts, style="reverse" if number == at else "")
    body = table if items else Text("none", style="dim")
    return Panel(body, title=Text(title), title_align="left", padding=(0, 1))


def _when(text: str | None) -> str:
    return relative(instant_of(text)) if text else ""
