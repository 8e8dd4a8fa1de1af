"""What an admin action is, and who executes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from valhalla.kernel.principal import Principal

READ: Final = "operations:read"
WRITE: Final = "operations:write"
KIND: Final = "admin_operation"
"""The kind of their entries in the ledger."""

Effect = Literal["irreversible", "reversible", "idempotent"]
Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """One execution that was asked for: by whom, with what, and why."""

    id: str
    principal: Principal
    arguments: Arguments
    reason: str


Run = Callable[[Order], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class AdminAction:
    """One thing that operators do. ``schema`` is the JSON Schema of its arguments, ``scope`` what the asker needs.

    ``run`` may raise any problem: it says then that nothing happened. ``preview`` says what would be done and writes
    nothing. ``approval`` names who else must agree (``1 of anyone``): the asker is answered that it waits.
    ``while_closed``: it may be done in maintenance, too.
    """

    name: str
    summary: str
    schema: Mapping[str, Any]
    effect: Effect
    scope: str
    run: Run
    preview: Run | None = None
    approval: str | None = None
    while_closed: bool = False


Status = Literal["succeeded", "replayed", "planned", "held"]


@dataclass(frozen=True, slots=True)
class Done:
    """What an execution came to; a refusal or failure is raised. ``hold`` is what people approve."""

    status: Status
    value: Mapping[str, Any] | None = None
    hold: str | None = None


class Executor(Protocol):
    """Runs actions under dedup, holds and the guard's ledger; it stands above the features."""

    def declare(self, action: AdminAction) -> None:
        """Make an action known, so that an approved one can be executed by any process."""
        ...

    async def execute(self, action: AdminAction, order: Order, key: str | None) -> Done:
        """Run an action, once per ``key`` of a principal.

        Raises:
            Problem: it was refused, or failed.
        """
        ...

    async def execute_approved(self) -> int:
        """Run what was approved since; return how many."""
        ...

    async def waiting(self) -> int:
        """Return how many guarded actions wait for people, of all programs (up to 200)."""
        ...
