"""The guard's decisions as pure functions: plan a begin, settle an end, read a row as an answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from valhalla.guard.contracts import (
    Began,
    BeginRequest,
    BeginResult,
    Failure,
    Hold,
    Record,
    State,
    Take,
    Verdict,
)
from valhalla.guard.declaration import Declaration
from valhalla.guard.errors import (
    ActionFailed,
    Denied,
    GuardProblem,
    Held,
    HoldGone,
    Indeterminate,
    InProgress,
    KeyReuse,
    LimitExceeded,
    ResultForgotten,
    TooManyHolds,
)
from valhalla.guard.outcome import Outcome, Status, refusal
from valhalla.guard.retry import UNSENT, matches
from valhalla.kit import redact

if TYPE_CHECKING:
    from valhalla.guard.calls import Call
    from valhalla.guard.governor.plan import Terms
    from valhalla.guard.stores import Codec

FOREVER: Final = float("inf")
# what a hold's key is when the caller gave none: it joins repetitions of the call while it is open
OPEN_KEY: Final = "~"
UNKEPT: Final = "the action was done; its result could not be kept"


class Judgement(Struct, frozen=True, gc=False):
    """What policy says about one call."""

    verdict: Verdict
    reason: str | None = None
    policy: str = ""
    hold: Hold | None = None


def plan(call: Call, judgement: Judgement, *, durable: bool) -> BeginRequest:
    """Return what the store is asked for ``call``."""
    declared = call.declaration
    key, keep = call.key, True
    if key is None and judgement.verdict is Verdict.HOLD:
        key, keep = OPEN_KEY + call.fingerprint.hex(), False
    scope, repeatable = call.scope, declared.effect.repeatable
    return BeginRequest(
        id=call.id,
        name=declared.name,
        effect=declared.effect,
        key=key,
        fingerprint=call.fingerprint,
        principal=scope.principal,
        verdict=judgement.verdict,
        reason=judgement.reason,
        policy=judgement.policy,
        hold=judgement.hold,
        takes=takes(call),
        keep=keep,
        track=not repeatable,
        on_lapse="rerun" if repeatable else "report",
        lease=lease(declared, durable=durable),
        ttl=declared.ttl,
        tombstone=declared.tombstone,
        parent=call.parent,
        correlation=scope.correlation,
        report=call.report,
    )


def lease(declared: Declaration, *, durable: bool) -> float:
    """Return the lease of an execution: where no row survives the process, the process itself is the lease."""
    return declared.lease if durable or not declared.heartbeat else FOREVER


def takes(call: Call) -> tuple[Take, ...]:
    """Return what the call asks of the governor."""
    declared = call.declaration
    if not declared.limited:
        return ()
    subject = declared.subject_of(call.values, call.args, call.kwargs)
    cost = declared.cost_of(call.values, call.args, call.kwargs)
    terms: Terms = call.terms
    return (Take(declared.resource, subject, cost, declared.names, terms.own, terms.every, terms.known),)


def refuse(result: BeginResult, call: Call) -> Outcome[Any]:
    """Return the outcome of a begin that neither executes nor waits."""
    name, record = call.declaration.name, result.record
    id_ = record.id if record else None
    match result.kind:
        case Began.LIMITED:
            wait = f"; retry after {result.retry_after:.3g} s" if result.retry_after else ""
            problem = LimitExceeded(
                f"the limit {result.limit or name} of {name} is reached{wait}",
                retry_after=result.retry_after,
                violated_policies=[result.limit] if result.limit else [],
            )
            problem.policies = result.policies
            return refusal("limited", problem, policies=result.policies)
        case Began.CAPPED:
            return refusal("denied", TooManyHolds(f"{call.scope.principal} has too many open holds"))
        case Began.KEY_REUSE:
            return refusal("denied", KeyReuse(f"this key of {name} belongs to other arguments", id=id_), id=id_)
        case Began.IN_PROGRESS:
            problem = InProgress(f"{name} is running under this key", retry_after=result.retry_after or 1.0, id=id_)
            return refusal("in_progress", problem, id=id_)
        case _:
            reason = record.reason if record else call.reason
            return refusal("denied", Denied(f"{name} is denied" + (f": {reason}" if reason else ""), id=id_), id=id_)


def answer(record: Record, codec: Codec) -> Outcome[Any]:  # noqa: PLR0911 - one line per state
    """Return what a row that does not execute says to a call that meets it."""
    id_ = record.id
    match record.state:
        case "succeeded":
            if record.value is None:
                text = record.reason or f"{record.name} was done; its result is not kept any more"
                return refusal("replayed", ResultForgotten(text, id=id_), id=id_)
            return Outcome("replayed", codec.decode(record.value), id_, record.reason)
        case "failed":
            failure = record.failure or Failure("Exception", "")
            problem = ActionFailed(f"{failure.kind}: {failure.text}", id=id_, kind=failure.kind)
            return refusal("failed", problem, id=id_)
        case "indeterminate":
            return refusal("indeterminate", Indeterminate(f"the end of {record.name} {id_} is unknown", id=id_), id=id_)
        case "denied":
            reason = f": {record.reason}" if record.reason else ""
            return refusal("denied", Denied(f"{record.name} was denied{reason}", id=id_), id=id_)
        case "held" | "approved":
            return refusal("held", Held(f"{record.name} waits for approval", id=id_), id=id_)
        case "executing":
            problem = InProgress(f"{record.name} is running", retry_after=1.0, id=id_)
            return refusal("in_progress", problem, id=id_)
        case "not_done":
            failure = record.failure or Failure("NotDone", "")
            problem = ActionFailed(f"not done: {failure.kind}: {failure.text}", id=id_, kind=failure.kind)
            return refusal("not_done", problem, id=id_)
        case _:
            return refusal("denied", HoldGone(f"the hold of {record.name} is {record.state}", id=id_), id=id_)


def state_after(declared: Declaration, error: BaseException, id_: str, since: float) -> State:
    """Say what an exception of the effect means: "released when nothing landed, held when unknown".

    ``since`` is when the attempt began (``time.monotonic``), 0 if nobody knows.
    """
    if isinstance(error, declared.failures):
        return "failed"
    # a caller's transaction undoes the effect together with its claim
    if declared.transactional is not None or declared.effect.repeatable:
        return "not_done"
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)) or is_anothers(error, id_, since):
        return "indeterminate"
    if isinstance(error, UNSENT) or (not declared.provider_key and matches(error, declared.retry_on)):
        return "not_done"
    return "indeterminate"


def mark(error: BaseException, id_: str) -> None:
    """Note on an exception which action ended with it, and when."""
    with suppress(AttributeError, TypeError):
        error.guarded_action = (id_, time.monotonic())  # pyright: ignore[reportAttributeAccessIssue]


def is_anothers(error: BaseException, id_: str, since: float) -> bool:
    """Say whether "nothing was sent" is how *another* action ended, one that this one has called ``since``.

    That one did nothing; what this one had done before it, the exception does not know. An older mark is that of an
    exception which a program keeps and raises again.
    """
    by, at = getattr(error, "guarded_action", (id_, 0.0))
    return isinstance(error, UNSENT) and by != id_ and at >= since


def ended(error: BaseException, state: State, id_: str) -> Outcome[Any]:
    """Return the outcome of an effect that raised; ``unwrap`` raises the very same exception."""
    status: Status = state if state in ("failed", "not_done") else "indeterminate"
    reason = error.detail if isinstance(error, GuardProblem) else f"{type(error).__name__}: {error}"
    retry = getattr(error, "retry_after", None)
    seconds = retry if isinstance(retry, (int, float)) else None
    outcome: Outcome[Any] = Outcome(status, None, id_, reason, seconds, error)
    return outcome


def keep_failure(error: BaseException) -> Failure:
    """Return the form in which an exception is kept."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a user's __str__ may raise
        text = ""
    return Failure(type(error).__name__, redact.text(text, limit=500))


def keep_value(codec: Codec, value: object) -> tuple[Any, str | None]:
    """Return the form in which a result is kept, and why it is not if it cannot be."""
    try:
        return codec.encode(value), None
    except TypeError as error:
        return None, f"{UNKEPT} ({error})"


def shown(call: Call, extra: Callable[[], tuple[str, ...]] | None = None) -> dict[str, Any]:
    """Return the call's arguments as people may see them."""
    names = (*call.declaration.redact, *(extra() if extra else ()))
    shows = call.declaration.shows
    return redact.redact(call.declaration.binder.named(call.values) if shows is None else shows(), names=names)
