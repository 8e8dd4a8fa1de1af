"""What people and workers ask of a guard, in a thread and on the event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from valhalla.guard import holds, working
from valhalla.guard.contracts import Record, ScanKind
from valhalla.guard.outcome import Outcome
from valhalla.guard.steps import Steps, arun, run
from valhalla.kernel.principal import Principal

if TYPE_CHECKING:
    import threading

    from valhalla.guard.guard import Guard
    from valhalla.guard.stores import Store

Roles = Mapping[str, Iterable[str]] | Callable[[str], Iterable[str]]


class People:
    """The part of a guard that people and workers use."""

    store: Store
    stop: threading.Event
    roles: Roles | None

    @property
    def _me(self) -> Guard:
        return cast("Guard", self)

    def drive(self, steps: Steps[Any]) -> Any:
        """Run a procedure in this thread."""
        return run(steps, self.store, self.stop)

    def adrive(self, steps: Steps[Any]) -> Coroutine[Any, Any, Any]:
        """Run a procedure on the event loop."""
        return arun(steps, self.store, self.stop)

    def _who(self, by: str | Principal) -> tuple[str, frozenset[str]]:
        if isinstance(by, Principal):
            return by.id, by.scopes
        roles = self.roles
        if roles is None:
            return by, frozenset()
        return by, frozenset(roles(by) if callable(roles) else roles.get(by, ()))

    def _decide(
        self, id_: str, by: str | Principal, decision: Literal["approve", "deny"], reason: str | None
    ) -> Steps[Record]:
        who, roles = self._who(by)
        return holds.decide(self._me, id_, who, roles, decision, reason)

    def approve(self, id_: str, *, by: str | Principal, reason: str | None = None) -> Record:
        """Add an approval; with the last one that is needed the action may be dispatched.

        Raises:
            HoldNotFound, HoldGone, NotAnApprover: as they say.
            IllegalTransition: it is decided already.
        """
        return self.drive(self._decide(id_, by, "approve", reason))

    async def aapprove(self, id_: str, *, by: str | Principal, reason: str | None = None) -> Record:
        """Async twin of ``approve``."""
        return await self.adrive(self._decide(id_, by, "approve", reason))

    def deny(self, id_: str, *, by: str | Principal, reason: str | None = None) -> Record:
        """Deny a hold; one person with a role of its quorum is enough. Raises what ``approve`` raises."""
        return self.drive(self._decide(id_, by, "deny", reason))

    async def adeny(self, id_: str, *, by: str | Principal, reason: str | None = None) -> Record:
        """Async twin of ``deny``."""
        return await self.adrive(self._decide(id_, by, "deny", reason))

    def cancel(self, id_: str, *, by: str = "system", reason: str | None = None) -> Record:
        """Take back an open hold that was not dispatched."""
        return self.drive(holds.cancel(id_, by, reason))

    async def acancel(self, id_: str, *, by: str = "system", reason: str | None = None) -> Record:
        """Async twin of ``cancel``."""
        return await self.adrive(holds.cancel(id_, by, reason))

    def settle(
        self, id_: str, outcome: holds.Settled, *, evidence: str, by: str = "system", value: Any = None
    ) -> Record:
        """Write down what a person found out about an ``indeterminate`` action.

        Raises:
            HoldNotFound: there is no such action.
            IllegalTransition: its end is known, or it still runs.
        """
        return self.drive(holds.settle(self._me, id_, outcome, by, evidence, value))

    async def asettle(
        self, id_: str, outcome: holds.Settled, *, evidence: str, by: str = "system", value: Any = None
    ) -> Record:
        """Async twin of ``settle``."""
        return await self.adrive(holds.settle(self._me, id_, outcome, by, evidence, value))

    def get(self, id_: str) -> Record:
        """Return one action's row."""
        return self.drive(holds.find(id_))

    def waiting(
        self, *, kind: ScanKind = "open", name: str | None = None, principal: str | None = None, limit: int = 100
    ) -> tuple[Record, ...]:
        """Return the rows that wait for somebody, oldest first; ``kind="indeterminate"``: those to be settled."""
        return self.drive(holds.listing(kind, name, principal, limit))

    def dispatch(self, limit: int = 100, *, strict: bool = False) -> list[Outcome[Any]]:
        """Execute approved holds from the registry, each once whoever else tries; a worker calls this in a loop."""
        return self.drive(working.run_approved(self._me, limit, strict=strict))

    async def adispatch(self, limit: int = 100, *, strict: bool = False) -> list[Outcome[Any]]:
        """Async twin of ``dispatch``; sync and async actions."""
        return await self.adrive(working.run_approved(self._me, limit, strict=strict))

    def sweep(self, limit: int = 1000) -> working.Swept:
        """Expire overdue holds, mark lapsed executions, ask ``reconcile=`` about them."""
        return self.drive(working.sweep(self._me, limit))

    async def asweep(self, limit: int = 1000) -> working.Swept:
        """Async twin of ``sweep``."""
        return await self.adrive(working.sweep(self._me, limit))

    def clear_expired(self, limit: int = 1000) -> int:
        """Drop results and rows that nobody may ask for any more; return how many were touched."""
        return self.store.purge(limit)

    async def aclear_expired(self, limit: int = 1000) -> int:
        """Async twin of ``clear_expired``."""
        return await self.store.apurge(limit)
