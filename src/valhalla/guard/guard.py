"""The guard: one pipeline, one store, one registry of actions. An object, so several live in one process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec.structs import replace

from valhalla.guard.actions import Actions
from valhalla.guard.calling import Calling
from valhalla.guard.calls import Asked, Call
from valhalla.guard.context import CURRENT, Context, Scope
from valhalla.guard.contracts import Mode, Record
from valhalla.guard.declaration import Declaration
from valhalla.guard.egress.current import active
from valhalla.guard.engine import perform
from valhalla.guard.errors import BadArguments, BadDeclaration, GuardProblem, StoreRefuses
from valhalla.guard.governor import Governor
from valhalla.guard.heart import Heart, NoHeart
from valhalla.guard.ids import Ids
from valhalla.guard.journal import Sink
from valhalla.guard.judging import PAYLOADS, Judging, Policy, Proposal
from valhalla.guard.names import check_key
from valhalla.guard.outcome import Outcome, refusal
from valhalla.guard.people import People, Roles
from valhalla.guard.plans import covered
from valhalla.guard.quorum import Quorum, parse
from valhalla.guard.steps import is_on_loop
from valhalla.guard.stores.memory import MemoryStore
from valhalla.guard.unanswered import Unanswered
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, NotFound

if TYPE_CHECKING:
    from valhalla.guard.egress import Seal
    from valhalla.guard.stores import Store

_NOTHING: Final = Asked()


class Guard(Actions, Calling, Judging, People):
    """Runs callables under dedup, policy, limits, holds, retries and a ledger.

    >>> guard = Guard()
    >>> @guard.action("payment", key="order", limit="100/hour", approval="2 of finance")
    ... def pay(order, amount): ...
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        governor: Governor | None = None,
        policy: Policy | None = None,
        policy_version: str = "",
        roles: Roles | None = None,
        fallback: str = "1 of anyone",
        self_approval: bool = False,
        max_holds: int = 20,
        patience: float = 10.0,
        redact: str | Iterable[str] = (),
        sink: Sink | None = None,
        clock: Callable[[], float] | None = None,
        fused: bool = True,
    ) -> None:
        """Without a store, rows live in this process.

        ``policy`` judges every call (``None`` lets it run; an exception denies); its decisions on held actions are
        checked again at dispatch, together with ``policy_version``. ``roles`` says which roles a person has.
        ``fallback`` approves what is held without a quorum of its own. ``patience`` is how many seconds a duplicate
        waits without a deadline, ``max_holds`` how many open holds a principal may have.

        Raises:
            BadDeclaration: ``store`` is none.
        """
        if store is not None and not hasattr(store, "begin"):
            raise BadDeclaration(
                f"a store is an object, not {type(store).__name__}", help="Write for example Guard(SqliteStore(path))."
            )
        self.governor = governor or Governor(clock=clock or time.monotonic)
        self.store: Store = store or MemoryStore(self.governor, clock=clock, sink=sink)
        self.policy_version = policy_version
        self.fallback: Quorum = parse(fallback)
        self.self_approval = self_approval
        self.max_holds = max_holds
        self.patience = patience
        self.redact = (redact,) if isinstance(redact, str) else tuple(redact)
        self.fused = fused
        self.policy = policy
        self.ids = Ids()
        self.stop = threading.Event()
        self.roles = roles
        self.unanswered = Unanswered()
        self._heart = Heart(self.store) if self.store.durable else NoHeart()
        super().__init__()

    # -- one call ------------------------------------------------------------------------------------------------------

    def prepare(
        self, declared: Declaration, args: tuple[Any, ...], kwargs: dict[str, Any], asked: Asked = _NOTHING
    ) -> Call:
        """Work out everything about a call before the store is asked.

        Raises:
            TypeError: the function could not be called with these arguments.
            GuardProblem: the key or the arguments cannot be used.
        """
        values = declared.binder.values(args, kwargs)
        outer = CURRENT.get()
        scope, now = outer.scope, time.monotonic()
        if asked.deadline is not None:
            scope = scope.within(deadline=now + asked.deadline)
        return Call(
            declaration=declared,
            args=args,
            kwargs=kwargs,
            values=values,
            id=next(self.ids),
            key=check_key(asked.key) if asked.key is not None else declared.key_of(values, args, kwargs),
            fingerprint=declared.fingerprint_of(values, args, kwargs),
            scope=scope,
            parent=outer.id,
            until=now + self.patience if scope.deadline is None else scope.deadline,
            approval_until=now + (asked.wait or 0.0),
            terms=self.terms(declared),
        )

    def prepare_blocking(
        self, declared: Declaration, args: tuple[Any, ...], kwargs: dict[str, Any], asked: Asked = _NOTHING
    ) -> Call:
        """Prepare a call that waits in this thread; on a thread with a running loop it does not wait at all."""
        call = self.prepare(declared, args, kwargs, asked)
        if not is_on_loop():
            return call
        # whoever it would wait for may need this very loop to go on
        call.until = call.approval_until = 0.0
        return call

    def outcome(
        self, declared: Declaration, args: tuple[Any, ...], kwargs: dict[str, Any], asked: Asked = _NOTHING
    ) -> Outcome[Any]:
        """Run a call to its outcome, in this thread."""
        try:
            call = self.prepare_blocking(declared, args, kwargs, asked)
            call.report = True
            return _watched(self.drive(perform(self, call)))
        except (GuardProblem, Invalid, NotFound) as problem:
            return refusal("denied", problem)

    async def aoutcome(
        self, declared: Declaration, args: tuple[Any, ...], kwargs: dict[str, Any], asked: Asked = _NOTHING
    ) -> Outcome[Any]:
        """Run a call to its outcome, on the event loop."""
        try:
            call = self.prepare(declared, args, kwargs, asked)
            call.report = True
            return _watched(await self.adrive(perform(self, call)))
        except (GuardProblem, Invalid, NotFound) as problem:
            return refusal("denied", problem)

    def recall(self, declared: Declaration, record: Record) -> Call:
        """Return the call that an approved hold stands for, from the arguments that were kept.

        Raises:
            BadArguments: nothing was kept.
        """
        if record.payload is None:
            raise BadArguments(f"the arguments of {record.name} {record.id} were not kept", id=record.id)
        args, kwargs = cast("tuple[tuple[Any, ...], dict[str, Any]]", PAYLOADS.decode(record.payload))
        values = declared.binder.values(args, kwargs)
        return Call(
            declaration=declared,
            args=args,
            kwargs=kwargs,
            values=values,
            id=record.id,
            key=record.key,
            fingerprint=declared.fingerprint_of(values, args, kwargs),
            scope=Scope(record.principal, correlation=record.correlation),
            parent=record.parent,
            until=0.0,
            approval_until=0.0,
            terms=self.terms(declared),
        )

    # -- what a call needs of the guard --------------------------------------------------------------------------------

    def heart(self, declared: Declaration, id_: str, generation: int) -> Heart | NoHeart:
        """Keep the lease of an execution alive until the returned heart is told to stop."""
        # nobody else sees a claim inside a transaction, so there is nothing to keep alive
        if declared.heartbeat and declared.transactional is None:
            self._heart.start(id_, generation, declared.lease)
        return self._heart

    @staticmethod
    def deadline(declared: Declaration) -> float | None:
        """Return when the action's own timeout ends, on ``time.monotonic``."""
        return None if declared.timeout is None else time.monotonic() + declared.timeout

    def store_of(self, call: Call) -> Store | None:
        """Return the store on the caller's own transaction, if the action is declared so.

        Raises:
            StoreRefuses: the store has no transactions.
        """
        at = call.declaration.transactional
        if at is None:
            return None
        within = getattr(self.store, "within", None)
        if within is None:
            raise StoreRefuses(f"{type(self.store).__name__} cannot join a transaction")
        return within(call.values[at])

    def note(self, call: Call, id_: str, state: str) -> None:
        """Write the ledger line of an end that has no row."""
        if isinstance(self.store, MemoryStore):
            now = self.store.clock()
            name, principal = call.declaration.name, call.scope.principal
            self.store.journal.append(
                ("finish", None, now, name, id_, state, principal, call.key, call.fingerprint, 1, None)
            )

    # -- surroundings --------------------------------------------------------------------------------------------------

    @contextmanager
    def _scoped(self, scope: Scope) -> Generator[Scope]:
        outer = CURRENT.get()
        token = CURRENT.set(Context(outer.id, outer.parent, scope, outer.generation))
        try:
            yield scope
        finally:
            CURRENT.reset(token)

    def acting(
        self,
        principal: str | Principal | None = None,
        *,
        deadline: float | None = None,
        correlation: str | None = None,
        sandbox: bool = False,
    ) -> AbstractContextManager[Scope]:
        """Say on whose behalf calls are made, how many seconds they have, and which request they belong to."""
        until = None if deadline is None else time.monotonic() + deadline
        who = principal.id if isinstance(principal, Principal) else principal
        mode: Mode | None = "sandbox" if sandbox else None
        return self._scoped(
            CURRENT.get().scope.within(principal=who, mode=mode, deadline=until, correlation=correlation)
        )

    @property
    def sealed(self) -> Callable[..., Seal]:
        """What seals a block, so that nothing in it reaches out: ``with guard.sealed(allow=[...]) as seal``."""
        # who never seals does not load it
        from valhalla.guard.egress import sealed

        return sealed

    def setup(self) -> None:
        """Make what the store needs, such as its tables; a store that needs nothing does nothing.

        Raises:
            Unavailable: the store cannot be reached.
        """
        setup = getattr(self.store, "setup", None)
        if setup is not None:
            setup()

    def close(self) -> None:
        """End pauses, heartbeats and the store. Calls that are running end by themselves."""
        self.stop.set()
        self._heart.close()
        self.store.close()


def _watched(outcome: Outcome[Any]) -> Outcome[Any]:
    """Add what watches over a call in a sealed block; a dry run has said so already."""
    return outcome if outcome.coverage or active() is None else replace(outcome, coverage=covered())


__all__ = ["Guard", "Proposal"]
