"""One call of one action, with everything that was worked out before a store is asked."""

from __future__ import annotations

import time
from typing import Any

from msgspec import Struct

from valhalla.guard.context import Context, Scope
from valhalla.guard.declaration import Declaration
from valhalla.guard.plans import Grants


class Asked(Struct, frozen=True):
    """What one call says beside its arguments; durations in seconds."""

    key: str | None = None
    wait: float | None = None
    deadline: float | None = None


def asked(key: str | None, wait: float | None, deadline: float | None) -> Asked:
    """Return what one call says beside its arguments."""
    return Asked(key, wait, deadline)


class Call(Struct):
    """``until`` is when the caller stops waiting for a duplicate, ``approval_until`` for people (``time.monotonic``).

    ``terms`` are the limits it meets; ``row`` says that the store has a row of it; ``report`` that the caller
    wants to know the limits' state; ``grants`` are those of a plan that this call applies.
    """

    declaration: Declaration
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    values: tuple[Any, ...]
    id: str
    key: str | None
    fingerprint: bytes
    scope: Scope
    parent: str | None
    until: float
    approval_until: float
    terms: Any = None
    reason: str | None = None
    row: bool = True
    report: bool = False
    grants: Grants | None = None

    def scope_left(self) -> float | None:
        """Return the seconds until the caller's deadline, ``None`` without one."""
        deadline = self.scope.deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def context(self, id_: str, generation: int, deadline: float | None, recorder: Any = None) -> Context:
        """Return the surroundings of the effect."""
        scope = self.scope
        if deadline is not None or recorder is not None:
            scope = scope.within(deadline=deadline, recorder=recorder)
        return Context(id_, self.parent, scope, generation)
