"""Who calls, on whose behalf, within which action and until when: one ContextVar, one object, one set and reset."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from valhalla.guard.contracts import Mode

if TYPE_CHECKING:
    from valhalla.guard.plans import Recorder

NOBODY: Final = "anonymous"


class Scope:
    """What many calls share: the principal, the mode, the deadline. Treat it as frozen.

    ``plain`` says that there is nothing but the principal, so that the fused path may be taken.
    """

    __slots__ = ("correlation", "deadline", "mode", "plain", "principal", "recorder")

    def __init__(
        self,
        principal: str = NOBODY,
        mode: Mode = "live",
        deadline: float | None = None,
        correlation: str | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """``deadline`` is on ``time.monotonic``; ``recorder`` notes a dry run or spends the grants of a plan."""
        self.principal = principal
        self.mode: Mode = mode
        self.deadline = deadline
        self.correlation = correlation
        self.recorder = recorder
        self.plain = recorder is None and mode != "dry" and correlation is None and deadline is None

    def within(
        self,
        *,
        principal: str | None = None,
        mode: Mode | None = None,
        deadline: float | None = None,
        correlation: str | None = None,
        recorder: Recorder | None = None,
    ) -> Scope:
        """Return a copy with what is given; an inner deadline never extends an outer one, and dry stays dry."""
        if deadline is None or (self.deadline is not None and self.deadline < deadline):
            deadline = self.deadline
        if self.mode == "dry":
            mode = "dry"
        return Scope(
            principal or self.principal,
            mode or self.mode,
            deadline,
            correlation or self.correlation,
            recorder or self.recorder,
        )


class Context(Struct, frozen=True, gc=False):
    """The surroundings of a call. Inside an action ``id`` names it, outside it is ``None``.

    ``parent`` is the id of the action that called this one.
    """

    id: str | None
    parent: str | None
    scope: Scope
    generation: int = 1

    @property
    def idempotency_key(self) -> str | None:
        """What to pass on to the provider: the same for every attempt and generation of one intended effect."""
        return self.id

    @property
    def principal(self) -> str:
        """Who asked."""
        return self.scope.principal

    @property
    def mode(self) -> Mode:
        """``live``, ``dry`` or ``sandbox``."""
        return self.scope.mode

    @property
    def dry(self) -> bool:
        """Whether this is a dry run."""
        return self.scope.mode == "dry"

    @property
    def correlation(self) -> str | None:
        """The trace or request that this belongs to."""
        return self.scope.correlation

    def remaining(self) -> float | None:
        """Return the seconds until the deadline (0 when it has passed), ``None`` without one."""
        deadline = self.scope.deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())


OUTSIDE: Final = Context(None, None, Scope())
CURRENT: Final[ContextVar[Context]] = ContextVar("valhalla_guard", default=OUTSIDE)


def current() -> Context:
    """Return the surroundings of this call."""
    return CURRENT.get()
