"""``valhalla login`` and ``valhalla top``."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.cli.calling import Result
from tests.cli.fake_plane import FakePlane
from tests.cli.fake_wire import problem
from tests.server.terminal import Terminal

from valhalla.cli.top import state
from valhalla.cli.top.drawing import draw
from valhalla.cli.top.patience import Patience, TurnedAway
from valhalla.cli.top.state import Decision, Screen, Seen
from valhalla.cli.top.terminal import Typed
from valhalla.sdk.errors import ApiProblem, Unreachable

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
    # one that is gone gives its place to the first, and keys that were meant for it decide nothing
    gone = state.look(screen, Seen(holds=[held("z")]))
    assert gone.chosen == held("z")
    warned, decided = state.press(gone, "a")
    assert (warned.asked, decided, "no longer waits" in warned.said) == (None, None, True)
    assert state.press(warned, "y") == (warned, None)
    assert state.press(warned, "a")[0].asked == Decision("approve", held("z"))
    # one that was decided here is expected to go
    decided, _ = state.press(state.press(screen, "a")[0], "y")
    assert not state.look(decided, Seen(holds=[held("z")])).moved
    assert state.press(state.press(gone, "k")[0], "d")[0].asked == Decision("deny", held("z"))
    assert state.look(screen, Seen()).chosen is None
    assert state.press(Screen(), "a") == (Screen(), None)


@pytest.mark.parametrize(
    ("parts", "keys"),
    [
        ([b"jja"], ["j", "j", "a"]),
        ([b"a\x1b[Bq"], ["a", "\x1b[B", "q"]),
        ([b"\x1b[", b"A"], ["\x1b[A"]),
        ([b"\x1b[1;5", b"C\x1bOBj"], ["\x1b[1;5C", "\x1bOB", "j"]),
        ([b"\x1b"], ["\x1b"]),
        ([b"\x1bq"], ["\x1b", "q"]),
        ([b"\x1b[\x03"], ["\x1b[", "\x03"]),
        (["é".encode()[:1], "é".encode()[1:] + b"y"], ["é", "y"]),
    ],
)
def test_no_key_is_lost(parts: list[bytes], keys: list[str]) -> None:
    typed, found = Typed(), []
    for part in parts:
        typed.add(part)
        while key := typed.take():
            found.append(key)
    while key := typed.take(whole=False):
        found.append(key)
    assert found == keys


def busy(retry_after: float | None = None) -> ApiProblem:
    return ApiProblem("busy", 503, "busy", extra={"retry_after": retry_after})


def test_who_is_turned_away_asks_again_later_each_time() -> None:
    patience, now = Patience(), 100.0
    for pause in (1.0, 2.0, 4.0, 8.0, 15.0, 15.0):
        patience.check(now)
        patience.failed(busy(), now)
        with pytest.raises(TurnedAway, match=r"busy; asked again in 1 s"):
            patience.check(now + pause - 0.5)
        now += pause
    patience.answered()
    assert "in 1 s" in str(patience.failed(Unreachable("http://plane"), now))
    # it says itself when; but nobody is forgotten for an hour
    assert "in 20 s" in str(patience.failed(busy(20.0), now))
    assert "in 60 s" in str(patience.failed(busy(3600.0), now))


def test_what_waiting_does_not_change_is_an_error_only_at_the_beginning() -> None:
    unknown = ApiProblem("unauthenticated", 401, "no such key")
    patience = Patience()
    patience.failed(busy(), 0.0)
    with pytest.raises(ApiProblem, match="no such key"):
        patience.failed(unknown, 1.0)
    patience.answered()
    assert "no such key" in str(patience.failed(unknown, 2.0))


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_problem_ends_the_one_look_with_an_error(
    plane: FakePlane, data_dir: Path, valhalla: Valhalla, at: int
) -> None:
    fine = (200, {"items": [], "next": None})
    plane.script = [fine] * at + [problem(429, "rate-limited", "too much")]
    said = valhalla("top")
    assert (said.code, said.out) == (1, "")
    assert "too much" in said.err


async def test_a_control_plane_that_refuses_is_shown_and_asked_again(plane: FakePlane, data_dir: Path) -> None:
    plane.script = [problem(429, "rate-limited", "too much")] * 100
    began = time.monotonic()
    terminal = Terminal("top", "--interval", "0.5", VALHALLA_DATA_DIR=str(data_dir))
    try:
        await terminal.shows("too much; asked again in")
        asked = sum(path == "/api/sandboxes" for _, path, *_ in plane.seen)
        assert asked <= 1 + (time.monotonic() - began)
        plane.script = []
        shown = len(terminal.raw)
        await terminal.shows("refund", shown)
        assert "NO-GO" in await terminal.shows("NO-GO", shown)
        refused = len(terminal.raw)
        plane.script = [problem(503, "unavailable", "it restarts")] * 100
        # what was seen stays, with the word that it is old
        await terminal.shows("NO ANSWER", refused)
        await terminal.shows("refund", len(terminal.raw))
        terminal.press("q")
        assert await terminal.ends() == 0
        assert terminal.modes() == terminal.before
    finally:
        terminal.close()


def test_what_people_wrote_is_no_markup() -> None:
    out = Console(file=io.StringIO(), width=160)
    hostile = "[red]x[/red]\x1b[2J<b>"
    seen = Seen(holds=[held("a", action=hostile, arguments={"n": hostile})], alerts=[], problem=hostile)
    out.print(draw(state.look(Screen(), seen)))
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]x[/red]" in text
    assert "\x1b[2J" not in text
