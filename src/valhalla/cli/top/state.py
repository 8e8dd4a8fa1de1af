"""What the screen shows and what a key does to it: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

Item = Mapping[str, Any]
Verb = Literal["approve", "deny"]


class Decision(NamedTuple):
    """What was decided on which hold, as it was shown."""

    verb: Verb
    hold: Item


@dataclass(frozen=True, slots=True)
class Seen:
    """What the control plane said last; a part that the key may not see is ``None``."""

    overview: Item | None = None
    holds: Sequence[Item] | None = None
    sandboxes: Sequence[Item] | None = None
    jobs: Sequence[Item] | None = None
    alerts: Sequence[Item] | None = None
    total: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Screen:
    """The whole screen. ``asked`` waits for a yes; ``quits`` and ``stale`` are what the keys want of the loop.

    ``moved``: the hold under the cursor went away by itself, and nobody has chosen the one that took its place.
    """

    seen: Seen = field(default_factory=Seen)
    at: int = 0
    asked: Decision | None = None
    said: str = ""
    quits: bool = False
    stale: bool = False
    moved: bool = False
    decided: str = ""

    @property
    def chosen(self) -> Item | None:
        """The hold that the cursor is on."""
        holds = self.seen.holds or ()
        return holds[min(self.at, len(holds) - 1)] if holds else None


def look(screen: Screen, seen: Seen) -> Screen:
    """Return the screen with newer facts; the cursor stays on its hold while that waits."""
    chosen = screen.chosen
    at = next((n for n, hold in enumerate(seen.holds or ()) if chosen and hold["id"] == chosen["id"]), None)
    moved = screen.moved or (chosen is not None and at is None and chosen["id"] != screen.decided)
    return replace(screen, seen=seen, at=at or 0, stale=False, moved=moved)


def press(screen: Screen, key: str) -> tuple[Screen, Decision | None]:
    """Return the screen after a key, and what was decided with it."""
    if screen.asked is not None:
        if key in ("y", "Y"):
            return replace(screen, asked=None, said="…", decided=screen.asked.hold["id"]), screen.asked
        return replace(screen, asked=None, said="Nothing was decided."), None
    last = max(0, len(screen.seen.holds or ()) - 1)
    chosen = screen.chosen
    after = screen
    match key:
        case "q" | "\x03" | "\x04":
            after = replace(screen, quits=True)
        case "r":
            after = replace(screen, stale=True)
        case "j":
            after = replace(screen, at=min(screen.at + 1, last), said="", moved=False)
        case "k":
            after = replace(screen, at=max(screen.at - 1, 0), said="", moved=False)
        case "a" | "d" if chosen is not None and screen.moved:
            # keys that were typed ahead mean what was on the screen then
            after = replace(screen, said="The chosen action no longer waits. Look again, then press it.", moved=False)
        case "a" | "d" if chosen is not None:
            after = replace(screen, asked=Decision("approve" if key == "a" else "deny", chosen), said="")
        case _:
            pass
    return after, None
