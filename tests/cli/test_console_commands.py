"""``valhalla login`` and ``valhalla top``."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from tests.cli.calling import Result
from tests.cli.fake_plane import FakePlane

from valhalla.cli.top import state
from valhalla.cli.top.drawing import draw
from valhalla.cli.top.state import Decision, Screen, Seen

Valhalla = Callable[..., Result]


def held(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "action": f"pay-{name}", "state": "held", "requested_by": "shop", "arguments": {}, **more}


def test_login_prints_a_link(plane: FakePlane, data_dir: Path, valhalla: Valhalla) -> None:
    said = valhalla("login")
    assert (said.code, said.out) == (0, f"{plane.url}/console/link?code=c1\n")
    assert json.loads(valhalla("login", "--json").out)["url"].endswith("/console/link?code=c1")


def test_top_without_a_terminal_prints_once_what_the_key_may_see(
    plane: FakePlane, data_dir: Path, valhalla: Valhalla
) -> None:
    said = valhalla("top")
    assert said.code == 0, said.err
    assert "refund" in said.out
    assert "NO-GO" in said.out
    assert "Jobs" not in said.out
    document = json.loads(valhalla("top", "--json").out)
    assert document["holds"][0]["id"] == "h1"
    assert "jobs" not in document


def test_nothing_is_decided_without_a_yes() -> None:
    screen = state.look(Screen(), Seen(holds=[held("a"), held("b")]))
    screen, none = state.press(screen, "j")
    asked, decided = state.press(screen, "a")
    assert (none, decided) == (None, None)
    assert asked.asked == Decision("approve", held("b"))
    for key in ("n", "q", "a", "d", "\x1b"):
        after, decided = state.press(asked, key)
        assert (after.asked, after.quits, decided) == (None, False, None)
    after, decided = state.press(asked, "y")
    assert decided == Decision("approve", held("b"))
    assert after.asked is None


def test_the_cursor_stays_on_its_hold() -> None:
    screen = state.look(Screen(), Seen(holds=[held("a"), held("b"), held("c")]))
    screen, _ = state.press(screen, "j")
    assert screen.chosen == held("b")
    screen = state.look(screen, Seen(holds=[held("z"), held("a"), held("b")]))
    assert screen.chosen == held("b")
    # one that is gone gives its place to the first
    assert state.look(screen, Seen(holds=[held("z")])).chosen == held("z")
    assert state.look(screen, Seen()).chosen is None
    assert state.press(Screen(), "a") == (Screen(), None)


def test_what_people_wrote_is_no_markup() -> None:
    out = Console(file=io.StringIO(), width=160)
    hostile = "[red]x[/red]\x1b[2J<b>"
    seen = Seen(holds=[held("a", action=hostile, arguments={"n": hostile})], alerts=[], problem=hostile)
    out.print(draw(state.look(Screen(), seen)))
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]x[/red]" in text
    assert "\x1b[2J" not in text
