"""Which mode holds, from what is set and planned and the clock: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, get_args

from valhalla.features.operations.maintenance.contracts import (
    STRICTNESS,
    Mode,
    Occurrence,
    Source,
    Standing,
    State,
)
from valhalla.features.operations.maintenance.errors import BadState
from valhalla.features.operations.maintenance.recurrence import Walk

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
HORIZON: Final = timedelta(days=1)
FARTHEST: Final = timedelta(days=366)
NORMAL: Final = State()
_FORM: Final = "%Y-%m-%dT%H:%M:%SZ"


def check_state(state: State) -> None:
    """Accept a state that can be stored.

    Raises:
        BadState: it cannot.
    """
    if state.mode not in MODES:
        raise BadState(f"a mode is one of {', '.join(MODES)}")
    if state.since is None or state.since.tzinfo is None:
        raise BadState("a state says since when it holds")
    if state.until is not None and (state.until.tzinfo is None or state.until <= state.since):
        raise BadState("the state ends before it begins")


def is_over(state: State, now: datetime) -> bool:
    """Say whether a state has run out; then it is as if nobody had set one."""
    return state.until is not None and now >= state.until


class Timetable:
    """Everything that decides: the state, the windows, and how long before one it is told of."""

    __slots__ = ("_notice", "state", "walks")

    def __init__(self, state: State | None, walks: Sequence[Walk], notice: timedelta) -> None:
        """``state`` is ``None`` when nobody has ever set one."""
        self.state = state or NORMAL
        self.walks = walks
        self._notice = notice

    def occurrences(self, begin: datetime, end: datetime) -> list[Occurrence]:
        """Return what is planned and not called off in a span of time, in order."""
        found = ((walk, one) for walk in self.walks for one in walk.between(begin, end))
        return sorted(cut for walk, one in found for cut in _after_override(self.state, walk.planned, one))

    def standing(self, now: datetime) -> Standing:
        """Return what holds now, and until when that can be said."""
        state = self.state
        end = now + HORIZON
        planned = self.occurrences(now, end + self._notice)
        active = [one for one in planned if one.start <= now < one.end]
        edges = [edge for one in planned for edge in (one.start - self._notice, one.start, one.end)]
        if state.until is not None:
            edges.append(state.until)
        valid_until = min((edge for edge in edges if edge > now), default=end)
        manual = state if state.mode != "normal" and not is_over(state, now) else None
        notice = _notice([one for one in planned if one.start - self._notice <= now < one.start])
        if manual is None and not active:
            since = None if is_over(state, now) else state.since
            source: Source = "default" if since is None else "state"
            reason = state.reason if source == "state" else ""
            return Standing("normal", reason, source, since, None, now, min(valid_until, end), notice)
        strictest = max(active, key=lambda one: (STRICTNESS[one.mode], one.end), default=None)
        until = None if manual is not None and manual.until is None else _open_again(now, manual, planned)
        if strictest is None or (manual is not None and _strictness(manual.mode) >= STRICTNESS[strictest.mode]):
            assert manual is not None
            return _manual(manual, until, now, min(valid_until, end), notice)
        if until is not None:
            notice = b", ".join(filter(None, (_told(strictest.start, until, strictest.mode), notice)))
        return Standing(
            strictest.mode,
            strictest.reason or f"window '{strictest.window}'",
            "window",
            strictest.start,
            until,
            now,
            min(valid_until, end),
            notice,
            strictest.window,
        )


def unknown(now: datetime, why: str, lasting: timedelta) -> Standing:
    """Return what holds when nobody can say what holds: writes are closed."""
    return Standing("read_only", why, "unknown", None, None, now, now + lasting)


def _manual(state: State, until: datetime | None, now: datetime, end: datetime, notice: bytes | None) -> Standing:
    if state.mode not in MODES:
        why = "the mode that is set is not known to this release, so writes stay closed"
        return Standing("read_only", why, "unknown", state.since, until, now, end, notice)
    told = None if state.since is None else _told(state.since, until, state.mode)
    notice = b", ".join(filter(None, (told, notice))) or None
    return Standing(state.mode, state.reason, "state", state.since, until, now, end, notice)


def _strictness(mode: str) -> int:
    return STRICTNESS.get(mode, STRICTNESS["read_only"])


def _after_override(state: State, planned: datetime | None, one: Occurrence) -> Iterable[Occurrence]:
    """Yield what an operator's ``normal`` leaves of an occurrence.

    What was under way when it was set is over, unless it was planned since; with ``until`` nothing acts before that.
    """
    since = state.since
    if state.mode != "normal" or since is None or one.end <= since:
        yield one
        return
    if one.start <= since and state.until is None and planned is not None and planned > since:
        yield one
        return
    if one.start <= since:
        yield Occurrence(one.start, since, one.window, one.mode, one.reason)
        if state.until is None or one.end <= state.until:
            return
        yield Occurrence(state.until, one.end, one.window, one.mode, one.reason)
    elif state.until is None or one.start >= state.until:
        yield one
    elif one.end > state.until:
        yield Occurrence(state.until, one.end, one.window, one.mode, one.reason)


def _open_again(now: datetime, manual: State | None, planned: Sequence[Occurrence]) -> datetime:
    """Return when the last of what overlaps from now on without a gap ends."""
    end = now if manual is None or manual.until is None else manual.until
    for one in planned:
        if one.start <= end < one.end:
            end = one.end
    return end


def _notice(soon: Sequence[Occurrence]) -> bytes | None:
    return b", ".join(_told(one.start, one.end, one.mode) for one in soon[:3]) or None


def _told(start: datetime, end: datetime | None, mode: str) -> bytes:
    """Write an interval (ISO 8601; an open end is '..') and its mode for the header."""
    begins, ends = start.astimezone(UTC).strftime(_FORM), ".." if end is None else end.astimezone(UTC).strftime(_FORM)
    return f"{begins}/{ends}; mode={mode}".encode()
