"""The procedure of one guarded call: judge, begin, and whatever the answer of ``begin`` asks for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from valhalla.guard import rules
from valhalla.guard.attempts import execute
from valhalla.guard.calls import Call
from valhalla.guard.context import CURRENT
from valhalla.guard.contracts import Began, BeginResult, CasRequest, Page, Record, Scan, Verdict
from valhalla.guard.errors import DeadlineExceeded, Held
from valhalla.guard.outcome import Outcome, refusal
from valhalla.guard.plans import Dry, Grants, Node
from valhalla.guard.quorum import is_met, spell
from valhalla.guard.reconcile import reconcile
from valhalla.guard.rules import Judgement
from valhalla.guard.steps import Invoke, On, Pause, Steps

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard

_APPROVED: Final = frozenset({"approved"})
# the first pause of a caller that waits for another's row, doubled up to the longest
_PAUSE: Final = 0.002
_LONGEST: Final = 0.25
_WAITS: Final = frozenset({"executing", "held", "approved"})


def perform(guard: Guard, call: Call) -> Steps[Outcome[Any]]:  # noqa: PLR0911, PLR0912 - one branch per answer
    """Run one call to its outcome. Only faults of the store are raised; everything else is in the outcome."""
    scope = call.scope
    if isinstance(scope.recorder, Dry) or scope.mode == "dry":
        return (yield from rehearse(guard, call))
    if scope.deadline is not None and time.monotonic() >= scope.deadline:
        return refusal("denied", DeadlineExceeded(f"the deadline had passed before {call.declaration.name} began"))
    grants = scope.recorder if isinstance(scope.recorder, Grants) else None
    children = None if grants is None else grants.spend(call.declaration.name, call.fingerprint)
    judgement = guard.judge(call, grants, children)
    children = call.grants or children
    call.reason = judgement.reason
    request = rules.plan(call, judgement, durable=guard.store.durable)
    call.row = request.key is not None or request.track
    store = guard.store_of(call)
    pause = _PAUSE
    while True:
        try:
            began: BeginResult = yield request if store is None else On(store, request)
        except BaseException:
            # a claim inside a transaction is undone with it
            if store is None:
                guard.unanswered.begun(request)
            raise
        record = began.record
        if record is None:
            return rules.refuse(began, call)
        match began.kind:
            case Began.EXECUTE:
                ended = yield from execute(guard, call, record.id, record.generation, recorder=children, store=store)
                if guard.unanswered:
                    yield from guard.unanswered.release()
                return replace(ended, policies=began.policies) if began.policies else ended
            case Began.IN_PROGRESS | Began.INDETERMINATE if guard.unanswered and (
                yield from guard.unanswered.release(record)
            ):
                # it was a claim of ours that nobody ran
                continue
            case Began.IN_PROGRESS:
                left = call.until - time.monotonic()
                # an action that calls itself under the same key would wait for itself
                if left <= 0 or record.id == call.parent:
                    return rules.refuse(began, call)
                yield Pause(min(left, pause), record.id)
                pause = min(2 * pause, _LONGEST)
            case Began.HELD | Began.APPROVED:
                outcome = yield from await_decision(guard, call, record)
                if outcome is not None:
                    return outcome
            case Began.INDETERMINATE:
                outcome = yield from reconcile(guard, call.declaration, record, call)
                if outcome is not None:
                    return outcome
            case Began.REPLAY | Began.DENIED:
                return rules.answer(record, guard.store.codec)
            case _:
                return rules.refuse(began, call)


def await_decision(guard: Guard, call: Call, record: Record) -> Steps[Outcome[Any] | None]:
    """Wait for people as long as the caller wants to; dispatch what they approved. ``None``: propose again."""
    pause = _PAUSE
    while record.state in _WAITS:
        if record.state == "approved":
            outcome = yield from dispatch(guard, call, record)
            if outcome is not None or call.approval_until <= time.monotonic():
                return outcome
        else:
            left = call.approval_until - time.monotonic()
            if left <= 0:
                return rules.answer(record, guard.store.codec)
            yield Pause(min(left, pause), record.id)
            pause = min(2 * pause, _LONGEST)
        page: Page = yield Scan("id", id=record.id)
        if not page.records:
            return None
        record = page.records[0]
    return rules.answer(record, guard.store.codec)


def dispatch(guard: Guard, call: Call, record: Record) -> Steps[Outcome[Any] | None]:
    """Execute an approved hold, once: everything is checked again, and one compare-and-swap takes it.

    ``None`` means that it is not approved any more, or that another took it: look again.
    """
    quorum = call.declaration.quorum_of(call.args, call.kwargs) or guard.fallback
    stale = (
        "the arguments are not those that were approved"
        if record.fingerprint != call.fingerprint
        else "the approvals do not fulfil the quorum"
        if not is_met(record, self_approval=guard.self_approval)
        else "the policy has changed since the approval"
        if record.policy != guard.policy_text(quorum)
        else guard.denied_now(call)
    )
    if stale is not None:
        yield CasRequest(
            record.id, _APPROVED, "stale", "stale", call.scope.principal, version=record.version,
            patch={"reason": stale},
        )  # fmt: skip
        return None
    attempt, actor = next(guard.ids), call.scope.principal
    try:
        result = yield CasRequest(
            record.id,
            _APPROVED,
            "executing",
            "dispatch",
            actor,
            version=record.version,
            when="unexpired",
            takes=rules.takes(call),
            lease=rules.lease(call.declaration, durable=guard.store.durable),
            patch={"attempt": attempt},
        )
    except BaseException:
        guard.unanswered.dispatched(record, attempt, actor)
        raise
    if result.kind == "limited":
        return rules.refuse(BeginResult(Began.LIMITED, None, result.retry_after, result.limit, result.policies), call)
    if not result.done:
        if result.record is not None and result.record.version == record.version:
            yield CasRequest(record.id, _APPROVED, "expired", "expired", call.scope.principal, when="expired")
        return None
    call.row = True
    return (yield from execute(guard, call, record.id, result.record.generation, recorder=call.grants))


def rehearse(guard: Guard, call: Call) -> Steps[Outcome[Any]]:
    """Note the call in the dry run's tree; call the effect only if it was declared to leave nothing behind."""
    declared, scope = call.declaration, call.scope
    recorder = scope.recorder if isinstance(scope.recorder, Dry) else Dry()
    quorum = declared.quorum_of(call.args, call.kwargs)
    node = Node(
        declared.name,
        call.fingerprint,
        declared.effect,
        rules.shown(call),
        None if quorum is None else spell(quorum),
        tuple(guard.limit_names(declared)),
    )
    below = recorder.enter(node)
    denied = guard.denied_now(call)
    if denied is not None:
        node.reason = denied
    elif declared.effect.runs_dry:
        node.ran = True
        return (yield from _try(call, call.declaration.function, node, below))
    elif declared.simulate is not None:
        node.simulated = True
        return (yield from _try(call, declared.simulate, node, below))
    problem = Held(f"{declared.name} is not run in a dry run" + (f": {denied}" if denied else ""), dry_run=True)
    outcome = replace(refusal("planned", problem), plan=node, coverage=below.coverage)
    problem.outcome = outcome
    return outcome


def _try(call: Call, function: Any, node: Node, below: Dry) -> Steps[Outcome[Any]]:
    ctx = call.context(call.id, 1, None, below)
    token = CURRENT.set(ctx)
    try:
        value = yield Invoke(function, call.args, call.kwargs, ctx.remaining())
    except BaseException as error:  # noqa: BLE001 - told by the outcome
        return replace(rules.ended(error, "not_done", call.id), plan=node, coverage=below.coverage)
    finally:
        CURRENT.reset(token)
    return Outcome("planned" if node.simulated else "succeeded", value, None, plan=node, coverage=below.coverage)


__all__ = ["Judgement", "Verdict", "await_decision", "dispatch", "perform", "rehearse"]
