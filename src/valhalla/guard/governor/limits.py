"""What a limit is, and how it is written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from valhalla.guard.governor.errors import BadLimit

Kind = Literal["exact", "gcra"]
Scope = Literal["subject", "all"]

EVERY: Final = "*"
"""The resource whose limits apply to all resources, counted together."""

MAX_CAPACITY: Final = 1_000_000_000
# eight bytes for each: beyond this a key that is used to the full weighs more than 8 MB
MAX_EXACT: Final = 1_000_000
MIN_WINDOW: Final = 0.001
MAX_WINDOW: Final = 3660 * 86_400.0
# one tick of the stores' clock, which counts microseconds
MAX_RATE: Final = 1_000_000.0

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_WORDS: Final = {
    "ms": "ms", "millisecond": "ms", "milliseconds": "ms", "s": "s", "sec": "s", "second": "s", "seconds": "s",
    "m": "m", "min": "m", "minute": "m", "minutes": "m", "h": "h", "hour": "h", "hours": "h",
    "d": "d", "day": "d", "days": "d", "w": "w", "week": "w", "weeks": "w",
}  # fmt: skip
_NAMES: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,62}")
_TEXT: Final = re.compile(
    r"(?P<capacity>[0-9][0-9_]{0,12})\s*(?:/|\bper\b)\s*(?P<count>[0-9]{1,10}(?:\.[0-9]{1,6})?)?\s*(?P<unit>[a-z]{1,12})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most ``capacity`` units in **any** ``window`` seconds.

    ``exact`` remembers every unit (8 bytes each, up to ``capacity`` per key) and hands out all of them at any time.
    ``gcra`` weighs about 60 bytes per key and hands out ``burst`` units at once and the rest evenly over the window;
    ``burst`` is half the capacity unless it is given. A call takes ``cost`` units for each unit of its own cost.
    ``scope="all"`` counts all subjects together. A ``shadow`` limit never refuses, it counts what it would have.
    """

    capacity: int
    window: float
    name: str = ""
    kind: Kind = "exact"
    burst: int | None = None
    cost: int = 1
    scope: Scope = "subject"
    shadow: bool = False

    def __post_init__(self) -> None:
        """Check and complete.

        Raises:
            BadLimit: a number is out of range, or burst and kind contradict each other.
        """
        _whole("capacity", self.capacity, MAX_CAPACITY)
        _check_window(self.window)
        object.__setattr__(self, "window", float(self.window))
        if self.kind not in ("exact", "gcra"):
            raise BadLimit("a limit's kind is 'exact' or 'gcra'")
        if self.scope not in ("subject", "all"):
            raise BadLimit("a limit's scope is 'subject' or 'all'")
        if self.capacity / self.window > MAX_RATE:
            raise BadLimit("a limit allows at most a million units per second", help="Lower it, or set no limit.")
        self._check_kind()
        _whole("cost", self.cost, self.most)
        if not self.name:
            object.__setattr__(self, "name", _name_of(self.window))
        if _NAME.fullmatch(self.name) is None:
            raise BadLimit("a limit's name is 1 to 63 of A-Z, a-z, 0-9, '_', '.', ':' and '-', a letter first")

    def _check_kind(self) -> None:
        if self.kind == "gcra":
            if self.burst is None:
                object.__setattr__(self, "burst", max(1, self.capacity // 2))
            _whole("burst", self.burst, self.capacity)
        elif self.burst is not None:
            raise BadLimit("only kind='gcra' has a burst; an exact limit hands out all of its capacity at once")
        elif self.capacity > MAX_EXACT:
            raise BadLimit(
                f"an exact limit remembers up to {MAX_EXACT:,} units per key", help="Use kind='gcra', or lower it."
            )

    @property
    def most(self) -> int:
        """The most units that one call can ever get."""
        return self.capacity if self.burst is None else self.burst

    @property
    def rate(self) -> float:
        """Units per second that come back to a GCRA limit: ``burst + rate * window <= capacity``.

        With the whole capacity as burst one unit per window comes back: a half-open window still sees no more.
        """
        return max(1, self.capacity - self.most) / self.window

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        name: str = "",
        kind: Kind = "exact",
        burst: int | None = None,
        cost: int = 1,
        scope: Scope = "subject",
        shadow: bool = False,
    ) -> Limit:
        """Read ``100/hour``, ``1000/60 s``, ``10 per minute``, ``100/3600s``; the rest is as in the class.

        Raises:
            BadLimit: it cannot be read, or no limit could have these numbers.
        """
        # what was sent is not echoed: it may be long, and it may steer a terminal
        found = _TEXT.fullmatch(text.strip().lower()) if isinstance(text, str) and len(text) <= 64 else None  # pyright: ignore[reportUnnecessaryIsInstance]
        if found is None or found["unit"] not in _WORDS:
            raise BadLimit("a limit is written as a number, '/' or 'per', and a time: '100/hour', '1000/60 s'")
        return cls(
            capacity=int(found["capacity"]),
            window=float(found["count"] or 1) * _UNITS[_WORDS[found["unit"]]],
            name=name,
            kind=kind,
            burst=burst,
            cost=cost,
            scope=scope,
            shadow=shadow,
        )


Limits = Limit | str | Iterable[Limit | str]
"""One limit or several, as values or as text."""


def as_limits(limits: Limits) -> tuple[Limit, ...]:
    """Return the limits as values.

    Raises:
        BadLimit: one cannot be read, or two have one name.
    """
    some = (limits,) if isinstance(limits, (Limit, str)) else tuple(limits)
    made = tuple(Limit.parse(limit) if isinstance(limit, str) else limit for limit in some)
    if len({limit.name for limit in made}) != len(made):
        raise BadLimit("two limits of one resource have the same name", help="Give each limit a name of its own.")
    return made


def _whole(what: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BadLimit(f"a limit's {what} is a whole number from 1 to {most:,}")


def _check_window(window: object) -> None:
    if not isinstance(window, (int, float)) or isinstance(window, bool) or not math.isfinite(window):
        raise BadLimit("a limit's window is a number of seconds")
    if not MIN_WINDOW <= window <= MAX_WINDOW:
        raise BadLimit(
            "a limit's window is from a millisecond to ten years", help="Write the window as '60 s' or 'day'."
        )


def _name_of(window: float) -> str:
    for unit, word in _NAMES.items():
        if window == _UNITS[unit]:
            return f"per-{word}"
    return f"per-{window:.6f}".rstrip("0").rstrip(".") + "s"
