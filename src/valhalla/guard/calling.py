"""The plain callables behind an action: the general path, and what follows an exception on the fused one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from valhalla.guard.attempts import execute
from valhalla.guard.calls import Call
from valhalla.guard.context import Context
from valhalla.guard.declaration import Declaration
from valhalla.guard.engine import perform
from valhalla.guard.errors import GuardProblem
from valhalla.guard.outcome import Outcome
from valhalla.guard.steps import Steps
from valhalla.guard.stores.memory import MemoryStore
from valhalla.guard.stores.rows import Cold, Row

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard
    from valhalla.guard.stores import Store


class Calling:
    """The part of a guard that makes callables."""

    store: Store

    @property
    def _caller(self) -> Guard:
        return cast("Guard", self)

    def caller(self, declared: Declaration) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
        """Return the general path of a sync action."""

        def slow(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            guard = self._caller
            return guard.drive(perform(guard, guard.prepare_blocking(declared, args, kwargs))).unwrap()

        return slow

    def acaller(self, declared: Declaration) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
        """Return the general path of an async action."""

        async def slow(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            guard = self._caller
            return (await guard.adrive(perform(guard, guard.prepare(declared, args, kwargs)))).unwrap()

        return slow

    def rescuer(self, declared: Declaration) -> Callable[..., Any]:
        """Return what the fused path does about an exception: retries and a finish, or the exception itself."""

        def failed(row: Row | None, context: Context, args: Any, kwargs: Any, error: BaseException) -> Any:
            return self._caller.drive(self._rescue(declared, row, context, args, kwargs, error)).unwrap()

        return failed

    def arescuer(self, declared: Declaration) -> Callable[..., Any]:
        """Async twin of ``rescuer``."""

        async def failed(row: Row | None, context: Context, args: Any, kwargs: Any, error: BaseException) -> Any:
            return (await self._caller.adrive(self._rescue(declared, row, context, args, kwargs, error))).unwrap()

        return failed

    def _rescue(
        self, declared: Declaration, row: Row | None, context: Context, args: Any, kwargs: Any, error: BaseException
    ) -> Steps[Outcome[Any]]:
        call = self.recalled(declared, args, kwargs, context, row)
        assert isinstance(self.store, MemoryStore)
        if row is None and not declared.effect.repeatable:
            # nothing was claimed, but somebody may have to settle it
            cold = Cold(declared.name, declared.effect, keep=True, ttl=declared.ttl, tombstone=declared.tombstone)
            row = Row(call.id, None, call.fingerprint, context.principal, self.store.clock(), cold)
        if row is not None:
            self.store.adopt(row)
            # a call that goes through has one line for begin and finish; this one has more to tell
            self.store.journal.append(
                ("begin", None, row.created_at, declared.name, row.id, "executing", row.principal, row.key,
                 row.fingerprint, row.generation, None)
            )  # fmt: skip
        call.row = row is not None
        return execute(self._caller, call, call.id, 1, error=error, context=context)

    def recalled(self, declared: Declaration, args: Any, kwargs: Any, context: Context, row: Row | None) -> Call:
        """Return the call that the fused path had begun."""
        values = declared.binder.values(args, kwargs)
        try:
            fingerprint = row.fingerprint if row else declared.fingerprint_of(values, args, kwargs)
        except GuardProblem:
            fingerprint = b""
        return Call(
            declaration=declared,
            args=args,
            kwargs=kwargs,
            values=values,
            id=context.id or "",
            key=row.key if row else None,
            fingerprint=fingerprint,
            scope=context.scope,
            parent=context.parent,
            until=0.0,
            approval_until=0.0,
        )
