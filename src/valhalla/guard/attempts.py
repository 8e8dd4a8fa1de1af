"""The effect itself: attempts inside one claim, and the one step that writes down how it ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from valhalla.guard import rules
from valhalla.guard.calls import Call
from valhalla.guard.context import CURRENT, Context
from valhalla.guard.contracts import SETTLED, CasRequest, CasResult, Field, State
from valhalla.guard.errors import BreakerOpen, DeadlineExceeded, GuardProblem, Indeterminate, Unrecorded
from valhalla.guard.outcome import Outcome
from valhalla.guard.steps import Invoke, On, Pause, Steps
from valhalla.kernel.problems import Unavailable
from valhalla.kit.spans import span

if TYPE_CHECKING:
    from valhalla.guard.breaker import Breaker
    from valhalla.guard.guard import Guard
    from valhalla.guard.stores import Store

# how often, and how long apart, the end of an effect is offered to a store that is away
_FINISH_PAUSES: Final = (0.05, 0.2, 0.8)
_EXECUTING: Final = frozenset({"executing"})
_UNKNOWN: Final = frozenset({"executing", "indeterminate"})


def execute(
    guard: Guard,
    call: Call,
    id_: str,
    generation: int,
    *,
    recorder: Any = None,
    store: Store | None = None,
    error: BaseException | None = None,
    context: Context | None = None,
) -> Steps[Outcome[Any]]:
    """Run the effect of a claimed action and finish it.

    ``error`` is how a first attempt ended that the fused path has made already; ``store`` is a caller's transaction.
    """
    declared = call.declaration
    ctx = context or call.context(id_, generation, guard.deadline(declared), recorder)
    heart = guard.heart(declared, id_, generation)
    attempt = 0 if error is None else 1
    unsure = refused = False
    since = 0.0
    try:
        if declared.budget is not None and error is None:
            declared.budget.firsts += 1
        value: Any = None
        while True:
            if error is None:
                error = _refused(call, ctx)
                refused = error is not None
                if error is None:
                    attempt, since = attempt + 1, time.monotonic()
                    token = CURRENT.set(ctx)
                    try:
                        with span(f"guard {declared.name}", attempt=attempt, id=id_):
                            value = yield Invoke(declared.function, call.args, call.kwargs, ctx.remaining())
                    except BaseException as raised:  # noqa: BLE001 - what it means is decided by its class
                        error = raised
                    finally:
                        CURRENT.reset(token)
                    if declared.breaker is not None:
                        _tell(declared.breaker, call, error)
            if error is None:
                return (yield from _finish(guard, call, id_, generation, "succeeded", value, None, store))
            # a deadline or a breaker of another action that this one called proves nothing
            state: State = "not_done" if refused else rules.state_after(declared, error, id_, since)
            # once nobody knows about one attempt, only a definite end of a later one settles the action
            unsure = unsure or state == "indeterminate"
            end: State = "indeterminate" if unsure and state == "not_done" else state
            pause = _next(call, ctx, attempt, error, since)
            if pause is None:
                return (yield from _finish(guard, call, id_, generation, end, None, error, store))
            try:
                yield Pause(pause)
            except BaseException:
                # interrupted or cancelled between two attempts: nothing is under way, the last one tells how it ended
                yield from _finish(guard, call, id_, generation, end, None, error, store)
                raise
            if ctx.remaining() == 0:
                # the pause took longer than it should: why the attempts failed says more than that time is up
                return (yield from _finish(guard, call, id_, generation, end, None, error, store))
            error = None
    finally:
        heart.stop(id_)


def _refused(call: Call, ctx: Context) -> BaseException | None:
    if ctx.remaining() == 0:
        return DeadlineExceeded(f"the deadline of {call.declaration.name} passed before an attempt")
    # the last question: whom an open breaker lets try has to tell it how that ended
    breaker = call.declaration.breaker
    wait = None if breaker is None else breaker.refuses()
    if wait is not None:
        return BreakerOpen(f"{call.declaration.name} has failed too often; the breaker is open", retry_after=wait)
    return None


def _tell(breaker: Breaker, call: Call, error: BaseException | None) -> None:
    # a declared business failure is an answer: the provider works
    if error is None or isinstance(error, call.declaration.failures):
        breaker.succeeded()
    elif not isinstance(error, Exception) or isinstance(error, GuardProblem):
        # a caller who went away, or a guard that said no, is no failure of the provider's
        breaker.abandoned()
    else:
        breaker.failed()


def _next(call: Call, ctx: Context, attempt: int, error: BaseException, since: float) -> float | None:
    """Return the pause before another attempt, ``None`` if there is none."""
    declared = call.declaration
    retry, budget = declared.retry, declared.budget
    if retry is None or budget is None or attempt > retry.retries or not isinstance(error, Exception):
        return None
    if isinstance(error, (BreakerOpen, DeadlineExceeded, *declared.failures)) or not declared.retries_on(error):
        return None
    if rules.is_anothers(error, ctx.id or "", since) and not declared.effect.repeatable:
        return None
    pause = retry.pause(attempt, error)
    left = ctx.remaining()
    # charged when the retry is decided: a budget that is looked at after the pause lets storms through
    if pause is None or (left is not None and pause >= left) or not budget.spend():
        return None
    return pause


def _finish(
    guard: Guard,
    call: Call,
    id_: str,
    generation: int,
    state: State,
    value: Any,
    error: BaseException | None,
    store: Store | None,
) -> Steps[Outcome[Any]]:
    patch: dict[Field, Any] = {}
    if error is None:
        patch["value"], reason = rules.keep_value(guard.store.codec, value)
        if reason is not None:
            patch["reason"] = reason
    else:
        patch["failure"] = rules.keep_failure(error)
    request = CasRequest(
        id=id_,
        sources=_UNKNOWN,
        to=state,
        event="finish",
        actor=call.scope.principal,
        generation=generation,
        patch=patch,
        brief=True,
    )
    if state == "indeterminate":
        # a sweeper may have said so already; then there is nothing to add
        request = CasRequest(id_, _EXECUTING, state, "finish", request.actor, generation, patch=patch, brief=True)
    done: Outcome[Any] = Outcome("succeeded", value, id_) if error is None else rules.ended(error, state, id_)
    if error is not None:
        rules.mark(error, id_)
    if not call.row:
        guard.note(call, id_, state)
        return done
    result = yield from _write(request, store)
    if result is None:
        if error is not None:
            return done
        problem = Unrecorded(f"{call.declaration.name} was done, but the store could not be told", id=id_, value=value)
        return Outcome("succeeded", value, id_, problem.detail, None, problem)
    if result.done or state == "indeterminate":
        return done
    return (yield from _late(guard, call, id_, result, done))


def _write(request: CasRequest, store: Store | None) -> Steps[CasResult | None]:
    command = request if store is None else On(store, request)
    for pause in (*_FINISH_PAUSES, None):
        try:
            return (yield command)
        except Unavailable:
            if pause is not None:
                yield Pause(pause)
    return None


def _late(guard: Guard, call: Call, id_: str, result: CasResult, done: Outcome[Any]) -> Steps[Outcome[Any]]:
    """Note that an execution ended after somebody else had taken over; what the other wrote is what counts."""
    record = result.record
    if record is None:
        return done
    evidence = f"a late execution ended {done.status} at {time.time():.3f}"
    yield CasRequest(
        id_,
        frozenset({record.state}),
        record.state,
        "late_finish",
        call.scope.principal,
        version=record.version,
        patch={"evidence": evidence},
    )
    if record.state in SETTLED:
        return rules.answer(record, guard.store.codec)
    problem = Indeterminate(f"{call.declaration.name} outlived its lease and another execution took over", id=id_)
    return Outcome("indeterminate", None, id_, problem.detail, None, problem)
