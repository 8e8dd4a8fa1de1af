"""``valhalla maintenance list`` to ``calendar``, and ``valhalla traces``: what they ask, and how they show it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.calling import Result
from tests.cli.fake_plane import FakePlane

Valhalla = Callable[..., Result]
WINDOW: dict[str, Any] = {
    "name": "upgrade",
    "start": "2026-12-06T02:00:00",
    "end": "2026-12-06T04:00:00",
    "zone": "America/Toronto",
    "rrule": None,
    "mode": "maintenance",
    "reason": "a new \x1b[31mdisk",
    "enabled": True,
    "next_start": "2026-12-06T07:00:00Z",
    "version": 1,
}
TIME = {
    **{n: WINDOW[n] for n in ("mode", "reason")},
    "window": "preview",
    "start": "2026-12-06T07:00:00Z",
    "end": "2026-12-06T09:00:00Z",
}
SPAN: dict[str, Any] = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "name": "POST /api/sandboxes",
    "service": "valhalla",
    "status": "error",
    "started_at": "2026-12-06T07:00:00Z",
    "seconds": 0.0125,
    "correlation_id": "c1",
    "children": [],
}


def test_a_window_is_planned_shown_and_called_off(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.script = [(201, WINDOW), (200, WINDOW), (200, {"items": [TIME]}), (204, None)]
    times = ("--start", "2026-12-06T02:00", "--end", "2026-12-06T04:00", "--zone", "America/Toronto")
    made = valhalla("maintenance", "add", "upgrade", *times, "--reason", "a new disk")
    assert made.code == 0, made.err
    method, path, _, body = plane.seen[0][:4]
    assert (method, path) == ("POST", "/system/maintenance/windows")
    assert body == {
        "name": "upgrade", "start": "2026-12-06T02:00", "end": "2026-12-06T04:00", "zone": "America/Toronto",
        "mode": "maintenance", "reason": "a new disk",
    }  # fmt: skip

    shown = valhalla("maintenance", "show", "upgrade")
    assert "2026-12-06T02:00:00 America/Toronto" in shown.out
    assert "2026-12-06T07:00:00Z" in shown.out
    assert "\x1b" not in shown.out
    assert valhalla("maintenance", "cancel", "upgrade", "--reason", "spring").code == 0
    assert plane.seen[-1][:2] == ("DELETE", "/system/maintenance/windows/upgrade")
    assert plane.seen[-1][2] == {"reason": "spring"}


def test_what_is_planned_is_listed(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    upcoming = {"mode": "normal", "upcoming": [TIME]}
    plane.script = [(200, upcoming), (200, upcoming), (200, {**upcoming, "upcoming": []})]
    assert "preview" in valhalla("maintenance", "list").out
    assert json.loads(valhalla("maintenance", "list", "--json").out) == {"items": [TIME]}
    assert "Nothing is planned" in valhalla("maintenance", "list").err


def test_traces(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    child = {**SPAN, "name": "guard pay", "status": "ok", "service": "shop", "seconds": 2.0}
    tree = {"trace_id": SPAN["trace_id"], "spans": 2, "roots": [{**SPAN, "children": [child, child]}]}
    page = {"items": [SPAN], "next": None}
    plane.script = [(200, page), (200, tree), (200, tree), (200, {"items": [], "next": None})]
    found = valhalla("traces", "list", "--status", "error", "--since", "1h", "--slower-than", "0.01")
    assert found.code == 0, found.err
    assert "12.5 ms" in found.out
    query = plane.seen[0][2]
    assert (query["status"], query["slower_than"], query["limit"]) == ("error", "0.01", "50")
    assert query["since"].endswith("+00:00")
    shown = valhalla("traces", "show", SPAN["trace_id"]).out.splitlines()
    assert shown[1:] == [
        "POST /api/sandboxes  12.5 ms failed",
        "├─ guard pay  2.00 s  [shop]",
        "└─ guard pay  2.00 s  [shop]",
    ]
    assert json.loads(valhalla("traces", "show", SPAN["trace_id"], "--json").out) == tree
    assert "No traces" in valhalla("traces", "list").err
