"""``valhalla notify``: what it sends, says and returns to a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.calling import Result
from tests.cli.fake_plane import FakePlane

Valhalla = Callable[..., Result]
AT = "2026-03-01T12:00:00Z"


def delivery(status: str, **members: Any) -> dict[str, Any]:
    return {
        "id": "d1",
        "channel": "ops",
        "status": status,
        "attempts": 1,
        "created_at": AT,
        "title": "It\x1b[31m broke",
        "count": 1,
        "error": None,
        "tries": [],
        **members,
    }


def test_a_message_is_sent_and_waited_for(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    plane.script = [(202, delivery("pending")), (200, delivery("delivered"))]

    result = valhalla("notify", "send", "ops", "Done", "rows=7", "--key", "k", "--wait", "5")

    assert (result.code, result.out.split()) == (0, ["d1", "delivered"])
    assert plane.seen[0][3] == {
        "channel": "ops",
        "subject": "Done",
        "body": "",
        "severity": "info",
        "data": {"rows": 7},
        "key": "k",
    }
    plane.script = [(202, delivery("dead"))]
    assert valhalla("notify", "send", "ops", "Done", "--wait", "1").code == 1


def test_a_test_that_fails_says_why_and_is_one(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    said = {
        "delivered": False,
        "outcome": "failed",
        "status": 500,
        "error": "HTTP 500",
        "excerpt": "no",
        "seconds": 0.1,
    }
    plane.script = [(200, said), (200, {**said, "delivered": True, "error": None})]

    failed, fine = (valhalla("notify", "channel", "test", "ops") for _ in range(2))

    assert (failed.code, failed.out.strip()) == (1, "not delivered: HTTP 500")
    assert fine.code == 0


def test_replays_are_never_of_everything_by_accident(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    assert valhalla("notify", "delivery", "replay").code == 2
    assert valhalla("notify", "delivery", "replay", "--all", "--channel", "ops").code == 2
    assert plane.seen == []
    plane.script = [(200, {"matched": 2, "replayed": 0, "ids": ["a", "b"], "dry_run": True})]
    result = valhalla("notify", "delivery", "replay", "--channel", "ops", "--dry-run", "--json")
    assert json.loads(result.out)["matched"] == 2
    assert plane.seen[0][3] == {"channel": "ops"}


def test_deliveries_are_shown_without_what_a_terminal_would_obey(
    plane: FakePlane, data_dir: Path, valhalla: Valhalla
) -> None:
    tried = {
        "number": 1,
        "at": AT,
        "seconds": 0.5,
        "outcome": "failed",
        "status": 500,
        "error": None,
        "excerpt": "\x1b]0;",
    }
    plane.script = [
        (200, {"items": [delivery("failed", error="HTTP 500")], "next": None}),
        (200, delivery("failed", tries=[tried])),
    ]
    listed = valhalla("notify", "delivery", "ls", "--status", "failed")
    shown = valhalla("notify", "delivery", "show", "d1")
    assert "HTTP 500" in listed.out
    assert "500" in shown.out
    assert "\x1b" not in listed.out + shown.out


def test_the_status_is_one_when_a_channel_fails(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    fares = {"enabled": True, "pending": 2, "failed": 1, "delivering": 0, "dead": 0, "delivered_at": None}
    items = [
        {"channel": "ops", "failures": 3, "last_error": "HTTP 500", **fares},
        {"channel": "more", "failures": 0, "last_error": None, **fares},
    ]
    plane.script = [(200, {"items": items}), (200, {"items": items[1:]})]
    failing, fine = (valhalla("notify", "status", "--quiet") for _ in range(2))
    assert (failing.code, failing.out.split()) == (1, ["ops"])
    assert (fine.code, fine.out) == (0, "")
