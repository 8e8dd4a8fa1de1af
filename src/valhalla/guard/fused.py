"""The fused path: a plain live call on the memory store without a request, a result or a lock.

It gives the answers of ``engine.perform`` (the same tests run over both) for the call that simply goes through. What
is not simple (a key that exists, a refused limit, an exception) is handed to the procedure, which decides again.

``dict.setdefault`` is the claim: it is atomic, and the row that is in the table is the one that runs. A finisher writes
the state before it looks for waiters and successors, these look the other way round, so one of the two sees the other.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from valhalla.guard.context import CURRENT, Context
from valhalla.guard.declaration import Declaration
from valhalla.guard.errors import GuardProblem
from valhalla.guard.fingerprint import OPTIONS, check_finite, default
from valhalla.guard.journal import BATCH
from valhalla.guard.keyless import aspanned, light, light_async, spanned
from valhalla.guard.names import MAX_KEY
from valhalla.guard.rules import UNKEPT
from valhalla.guard.stores.memory import MemoryStore
from valhalla.guard.stores.rows import Cold, Row
from valhalla.kit.spans import EVER, LOCAL

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard

_AS_IS = frozenset({int, str, float, bool, bytes, type(None)})


def eligible(guard: Guard, declared: Declaration) -> bool:
    """Say whether calls of the action may take the fused path."""
    return (
        isinstance(guard.store, MemoryStore)
        and not guard.store.durable
        and guard.policy is None
        and declared.approval is None
        and declared.timeout is None
        and declared.breaker is None
        and declared.transactional is None
        and declared.heartbeat
    )


def claimer(guard: Guard, declared: Declaration) -> Callable[[Context, tuple[Any, ...], dict[str, Any]], Row | None]:
    """Return the function that claims one call: its row, or that of a finished one, or ``None``: ask the procedure."""
    store = guard.store
    assert isinstance(store, MemoryStore)
    table = store.table(declared.name)
    find, setdefault = table.get, table.setdefault
    clock, next_id = store.clock, guard.ids.source.__next__
    dumps, copy = orjson.dumps, declared.hash.copy
    binder, skip, count, plain = declared.binder, declared.binder.skip, declared.binder.count, declared.binder.plain
    key_at = declared.key if isinstance(declared.key, int) else None
    own_key, own_fingerprint = declared.key_of, None if declared.fingerprint is None else declared.fingerprint_of
    take = guard.bound(declared) if declared.limited else None
    simple_take = declared.subject is None and declared.cost_index is None and isinstance(declared.cost, int)
    cost = declared.cost if isinstance(declared.cost, int) else 1
    cold = Cold(declared.name, declared.effect, keep=True, ttl=declared.ttl, tombstone=declared.tombstone)
    budget = declared.budget

    def claim(  # noqa: PLR0911, PLR0912 - flat, because each call costs a tenth of a microsecond
        outer: Context, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Row | None:
        values = args if plain and not kwargs and len(args) == count else binder.values(args, kwargs)
        if own_fingerprint is None:
            semantic = values[skip:] if skip else values
            try:
                data = dumps(semantic, default, OPTIONS)
            except (TypeError, RecursionError):
                return None
            if b"null" in data:
                try:
                    check_finite(semantic)
                except GuardProblem:
                    return None
            hashed = copy()
            hashed.update(data)
            fingerprint = hashed.digest()
        else:
            fingerprint = own_fingerprint(values, args, kwargs)
        key = own_key(values, args, kwargs) if key_at is None else values[key_at]
        if type(key) is not str or not 0 < len(key) <= MAX_KEY or not key.isprintable() or key.strip() != key:
            return None
        met = find(key)
        if met is not None:
            done = met.state == "succeeded" and met.value is not None and met.fingerprint == fingerprint
            return met if done and clock() < met.updated_at + met.cold.ttl else None
        if take is not None:
            if simple_take:
                decision = take("", cost)
            else:
                decision = take(declared.subject_of(values, args, kwargs), declared.cost_of(values, args, kwargs))
            if not decision.allowed:
                return None
        row = Row(next_id(), key, fingerprint, outer.scope.principal, clock(), cold)
        if setdefault(key, row) is not row:
            # a duplicate was faster between the look and the claim: what was charged goes back
            if take is not None:
                subject = "" if simple_take else declared.subject_of(values, args, kwargs)
                store.governor.refund(
                    declared.resource, subject, cost if simple_take else declared.cost_of(values, args, kwargs)
                )
            return None
        if budget is not None:
            budget.firsts += 1
        return row

    return claim


def finisher(guard: Guard, declared: Declaration) -> Callable[[Row, Any], None]:
    """Return the function that finishes a claimed call that returned a value."""
    store = guard.store
    assert isinstance(store, MemoryStore)
    clock, name = store.clock, declared.name
    # what ``MemoryCodec.encode`` does, without two calls
    pickled = pickle.dumps
    pending, as_is = store.journal.pending, _AS_IS
    append = pending.append

    def finish(row: Row, value: Any) -> None:
        if type(value) in as_is:
            row.value = (value,)
        else:
            try:
                row.value = pickled(value, 5)
            except Exception as error:  # noqa: BLE001 - user types raise anything
                row.cold = row.cold.changed({"reason": f"{UNKEPT} ({type(error).__name__})"})
        row.updated_at = now = clock()
        row.state = "succeeded"
        if row.waiter is not None:
            row.waiter.set()
        append(
            ("finish", row.created_at, now, name, row.id, "succeeded", row.principal, row.key, row.fingerprint, 1, None)
        )
        if len(pending) >= BATCH:
            store.tick()

    return finish


def fuse(guard: Guard, declared: Declaration) -> Callable[..., Any]:
    """Return the callable of a sync action."""
    get, enter, leave, ever, traced = CURRENT.get, CURRENT.set, CURRENT.reset, EVER, LOCAL.get
    function, slow, failed = declared.function, guard.caller(declared), guard.rescuer(declared)
    if not eligible(guard, declared):

        def general(*args: Any, **kwargs: Any) -> Any:
            return slow(args, kwargs)

        return general
    if declared.key is None:
        return light(guard, declared)
    claim, finish, decode = claimer(guard, declared), finisher(guard, declared), guard.store.codec.decode

    def call(*args: Any, **kwargs: Any) -> Any:
        outer = get()
        if not (outer.scope.plain and guard.fused):
            return slow(args, kwargs)
        row = claim(outer, args, kwargs)
        if row is None:
            return slow(args, kwargs)
        if row.state == "succeeded":
            return decode(row.value)
        context = Context(row.id, outer.id, outer.scope)
        token = enter(context)
        try:
            if ever.kept and traced() is not None:
                value = spanned(declared, row.id, args, kwargs)
            else:
                value = function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - what it means is decided by its class
            leave(token)
            return failed(row, context, args, kwargs, error)
        leave(token)
        finish(row, value)
        return value

    return call


def fuse_async(guard: Guard, declared: Declaration) -> Callable[..., Any]:
    """Return the callable of an async action."""
    get, enter, leave, ever, traced = CURRENT.get, CURRENT.set, CURRENT.reset, EVER, LOCAL.get
    function, slow, failed = declared.function, guard.acaller(declared), guard.arescuer(declared)
    if not eligible(guard, declared):

        async def general(*args: Any, **kwargs: Any) -> Any:
            return await slow(args, kwargs)

        return general
    if declared.key is None:
        return light_async(guard, declared)
    claim, finish, decode = claimer(guard, declared), finisher(guard, declared), guard.store.codec.decode

    async def call(*args: Any, **kwargs: Any) -> Any:
        outer = get()
        if not (outer.scope.plain and guard.fused):
            return await slow(args, kwargs)
        row = claim(outer, args, kwargs)
        if row is None:
            return await slow(args, kwargs)
        if row.state == "succeeded":
            return decode(row.value)
        context = Context(row.id, outer.id, outer.scope)
        token = enter(context)
        try:
            if ever.kept and traced() is not None:
                value = await aspanned(declared, row.id, args, kwargs)
            else:
                value = await function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - what it means is decided by its class
            leave(token)
            return await failed(row, context, args, kwargs, error)
        leave(token)
        finish(row, value)
        return value

    return call
