"""The fused path of actions without a key: context, limits and ledger line, and no row.

What is not simple (a refused limit, an exception) is handed to the procedure, as in ``fused``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from valhalla.guard.context import CURRENT, Context
from valhalla.guard.declaration import Declaration
from valhalla.guard.journal import BATCH
from valhalla.guard.stores.memory import MemoryStore
from valhalla.kit.spans import EVER, LOCAL, span

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard


Take = Callable[[str, int], Any]
Admit = Callable[[tuple[Any, ...], dict[str, Any]], bool]


def takers(guard: Guard, declared: Declaration) -> tuple[Take | None, int, Admit | None]:
    """Return how a call pays: by a bound take with its cost, or by a function of its arguments, or not at all."""
    if not declared.limited:
        return None, 0, None
    take = guard.bound(declared)
    values_of = declared.binder.values
    if declared.subject is None and declared.cost_index is None and isinstance(declared.cost, int):
        return take, declared.cost, None

    def admit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        values = values_of(args, kwargs)
        return take(declared.subject_of(values, args, kwargs), declared.cost_of(values, args, kwargs)).allowed

    return None, 0, admit


def spanned(declared: Declaration, id_: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the effect as a span of the trace that is being kept, as the procedure does."""
    with span(f"guard {declared.name}", attempt=1, id=id_):
        return declared.function(*args, **kwargs)


async def aspanned(declared: Declaration, id_: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do the same for an async action."""
    with span(f"guard {declared.name}", attempt=1, id=id_):
        return await declared.function(*args, **kwargs)


def light(guard: Guard, declared: Declaration) -> Callable[..., Any]:
    """Return the callable of a sync action."""
    store = guard.store
    assert isinstance(store, MemoryStore)
    get, enter, leave, ever, traced = CURRENT.get, CURRENT.set, CURRENT.reset, EVER, LOCAL.get
    function, slow, failed = declared.function, guard.caller(declared), guard.rescuer(declared)
    clock, next_id, name = store.clock, guard.ids.source.__next__, declared.name
    pending = store.journal.pending
    append, budget = pending.append, declared.budget
    take, cost, admit = takers(guard, declared)

    def call(*args: Any, **kwargs: Any) -> Any:
        outer = get()
        scope = outer.scope
        if (
            not (scope.plain and guard.fused)
            or (take is not None and not take("", cost).allowed)
            or (admit is not None and not admit(args, kwargs))
        ):
            return slow(args, kwargs)
        if budget is not None:
            budget.firsts += 1
        begun = clock()
        context = Context(next_id(), outer.id, scope)
        token = enter(context)
        try:
            if ever.kept and traced() is not None:
                value = spanned(declared, context.id, args, kwargs)
            else:
                value = function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - what it means is decided by its class
            leave(token)
            return failed(None, context, args, kwargs, error)
        leave(token)
        append(("finish", begun, clock(), name, context.id, "succeeded", scope.principal, None, b"", 1, None))  # pyright: ignore[reportArgumentType]
        if len(pending) >= BATCH:
            store.tick()
        return value

    return call


def light_async(guard: Guard, declared: Declaration) -> Callable[..., Any]:
    """Return the callable of an async action."""
    store = guard.store
    assert isinstance(store, MemoryStore)
    get, enter, leave, ever, traced = CURRENT.get, CURRENT.set, CURRENT.reset, EVER, LOCAL.get
    function, slow, failed = declared.function, guard.acaller(declared), guard.arescuer(declared)
    clock, next_id, name = store.clock, guard.ids.source.__next__, declared.name
    pending = store.journal.pending
    append, budget = pending.append, declared.budget
    take, cost, admit = takers(guard, declared)

    async def call(*args: Any, **kwargs: Any) -> Any:
        outer = get()
        scope = outer.scope
        if (
            not (scope.plain and guard.fused)
            or (take is not None and not take("", cost).allowed)
            or (admit is not None and not admit(args, kwargs))
        ):
            return await slow(args, kwargs)
        if budget is not None:
            budget.firsts += 1
        begun = clock()
        context = Context(next_id(), outer.id, scope)
        token = enter(context)
        try:
            if ever.kept and traced() is not None:
                value = await aspanned(declared, context.id, args, kwargs)
            else:
                value = await function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - what it means is decided by its class
            leave(token)
            return await failed(None, context, args, kwargs, error)
        leave(token)
        append(("finish", begun, clock(), name, context.id, "succeeded", scope.principal, None, b"", 1, None))  # pyright: ignore[reportArgumentType]
        if len(pending) >= BATCH:
            store.tick()
        return value

    return call
