"""Who calls, on whose behalf, within which action and until when: one ContextVar, one object, one set and reset."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from valhalla.guard.contracts import Mode

if TYPE_CHECKING:
    from valhalla.guard.plans import Recorder

NOBODY: Final = "anonymous"


class Context:
    """The surroundings of a call. Inside an action ``id`` names it; outside ``id`` is ``None``. Treat it as frozen."""

    __slots__ = ("correlation", "deadline", "generation", "id", "mode", "parent", "principal", "recorder")

    def __init__(
        self,
        id: str | None,  # noqa: A002 - what it is
        parent: Context | None,
        principal: str = NOBODY,
        mode: Mode = "live",
        deadline: float | None = None,
        correlation: str | None = None,
        recorder: Recorder | None = None,
        generation: int = 1,
    ) -> None:
        """``deadline`` is on ``time.monotonic``; ``recorder`` collects a dry run or spends the grants of a plan."""
        self.id = id
        self.parent = parent
        self.principal = principal
        self.mode = mode
        self.deadline = deadline
        self.correlation = correlation
        self.recorder = recorder
        self.generation = generation

    @property
    def idempotency_key(self) -> str | None:
        """What to pass on to the provider: the same for every attempt and generation of one intended effect."""
        return self.id

    @property
    def dry(self) -> bool:
        """Whether this is a dry run."""
        return self.mode == "dry"

    def remaining(self) -> float | None:
        """Return the seconds until the deadline (0 when it has passed), ``None`` without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def within(
        self,
        *,
        principal: str | None = None,
        mode: Mode | None = None,
        deadline: float | None = None,
        correlation: str | None = None,
        recorder: Recorder | None = None,
    ) -> Context:
        """Return a copy with what is given; an inner deadline never extends an outer one."""
        if deadline is None or (self.deadline is not None and self.deadline < deadline):
            deadline = self.deadline
        return Context(
            self.id,
            self.parent,
            principal or self.principal,
            mode or self.mode,
            deadline,
            correlation or self.correlation,
            recorder or self.recorder,
            self.generation,
        )


OUTSIDE: Final = Context(None, None)
CURRENT: Final[ContextVar[Context]] = ContextVar("valhalla_guard", default=OUTSIDE)


def current() -> Context:
    """Return the surroundings of this call."""
    return CURRENT.get()
