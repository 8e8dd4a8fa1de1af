"""The guard's problems: every way in which a call does not simply return its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from valhalla.kernel.problems import Conflict, Invalid, NotFound, Problem, QuotaExceeded

if TYPE_CHECKING:
    from valhalla.guard.contracts import Policies
    from valhalla.guard.outcome import Outcome


class GuardProblem(Problem):
    """Base of what a guarded call raises instead of returning. ``outcome`` says the same as a value."""

    outcome: Outcome[Any] | None = None


class BadName(GuardProblem, Invalid):
    """The action's name is not one that can be told from its look-alikes."""

    code = "guard-bad-name"
    title = "This is no valid action name"
    help = "Use 1 to 100 characters of a-z, 0-9, '_', '.', ':' and '-', beginning with a letter."


class NameTaken(GuardProblem, Conflict):
    """Another function is already registered under this name."""

    code = "guard-name-taken"
    title = "Another function has this action name"
    help = "Give each function a name of its own; an approved hold is dispatched by name."


class UnknownAction(GuardProblem, NotFound):
    """No function is registered under the name."""

    code = "guard-unknown-action"
    title = "No action of this name is registered here"
    help = "Import the module that declares it before the worker dispatches."


class BadKey(GuardProblem, Invalid):
    """The idempotency key cannot be used."""

    code = "guard-bad-key"
    title = "This is no usable idempotency key"
    help = "Use text of 1 to 512 characters that names one intended effect, such as an order number."


class BadArguments(GuardProblem, Invalid):
    """The arguments have no canonical form, so that equal calls could not be told from different ones."""

    code = "guard-bad-arguments"
    title = "The arguments have no canonical form"
    help = "Pass fingerprint= a function that returns the fields that matter as plain values."


class BadDeclaration(GuardProblem, Invalid):
    """The declaration of an action contradicts itself."""

    code = "guard-bad-declaration"
    title = "The action is not declared correctly"
    help = "Correct the named argument of guard.action(...)."


class Denied(GuardProblem):
    """Policy or a person said no; the effect did not run."""

    code = "guard-denied"
    status = 403
    title = "The action was denied"
    help = "Ask for another action, or have the policy changed; repeating the call does not help."


class Held(GuardProblem):
    """The effect did not run: the action waits for approval, or this is a dry run."""

    code = "guard-held"
    status = 202
    title = "The action is held"
    help = "Have it approved with guard.approve(id, by=...); then it runs once."

    @property
    def id(self) -> str | None:
        """The held action's id; ``None`` in a dry run."""
        return self.extra.get("id")


class TooManyHolds(GuardProblem):
    """The principal has as many open holds as allowed."""

    code = "guard-too-many-holds"
    status = 429
    title = "Too many actions of this principal wait for approval"
    help = "Have the open ones decided or cancel them before proposing more."


class LimitExceeded(QuotaExceeded, GuardProblem):
    """A limit refused; nothing was charged and the effect did not run. ``policies`` tells every limit's state."""

    policies: Policies = ()


class KeyReuse(GuardProblem):
    """The idempotency key came with other arguments."""

    code = "guard-key-reuse"
    status = 422
    title = "This idempotency key was used with other arguments"
    help = "Use a new key for a new effect; repeat the exact call to retry."


class InProgress(GuardProblem, Conflict):
    """The first call with this key has not finished, and the caller's deadline has come."""

    code = "guard-in-progress"
    title = "The first call with this key is still running"
    help = "Repeat the same call after 'retry_after' seconds."


class Indeterminate(GuardProblem, Conflict):
    """Nobody knows whether the effect happened; it is not run again."""

    code = "guard-indeterminate"
    title = "It is unknown whether the effect happened"
    help = (
        "Look at the provider, then guard.settle(id, 'succeeded' or 'not_done', evidence=...); or declare reconcile=."
    )


class ActionFailed(GuardProblem):
    """An earlier call with this key failed for good; that failure is its answer. ``kind`` names its exception."""

    code = "guard-action-failed"
    status = 422
    title = "The action failed"
    help = "The failure is final for this key; use a new key for a new attempt."


class ResultForgotten(GuardProblem):
    """The effect happened, but its result is no longer kept."""

    code = "guard-result-forgotten"
    status = 410
    title = "The action was done; its result is not kept any more"
    help = "Read the result where the effect left it. Nothing was run again."


class HoldNotFound(GuardProblem, NotFound):
    """There is no action of this id."""

    code = "guard-hold-not-found"
    title = "There is no such action"
    help = "guard.waiting() lists those that wait."


class HoldGone(GuardProblem):
    """The hold expired, was cancelled or replaced before the decision came."""

    code = "guard-hold-gone"
    status = 410
    title = "The hold is over"
    help = "Propose the action again; nothing will run from this one."


class NotAnApprover(GuardProblem):
    """The person may not approve this."""

    code = "guard-not-an-approver"
    status = 403
    title = "This person may not approve the action"
    help = "Someone else with the named role must; the requester cannot approve, and nobody counts twice."


class StalePlan(GuardProblem, Conflict):
    """The plan was applied already, or it is not approved."""

    code = "guard-stale-plan"
    title = "The plan cannot be applied"
    help = "Make a new plan; each plan is applied once."


class BreakerOpen(GuardProblem):
    """The breaker is open: recent calls failed, so this one was not tried."""

    code = "guard-breaker-open"
    status = 503
    title = "The provider has failed too often lately"
    help = "Try again after 'retry_after' seconds."


class DeadlineExceeded(GuardProblem):
    """The call's deadline came before the effect was begun."""

    code = "guard-deadline"
    status = 504
    title = "The deadline has passed"
    help = "Allow more time, or ask for less."


class Unrecorded(GuardProblem):
    """The effect happened and its result is known, but the store could not be told. ``value`` is the result."""

    code = "guard-unrecorded"
    status = 503
    title = "The action was done, but this could not be written down"
    help = "Do not repeat it. When the store is back the action counts as indeterminate: settle it with this result."

    def __init__(self, detail: str, *, value: Any = None, **extra: Any) -> None:
        """``value`` stays out of the problem document."""
        super().__init__(detail, **extra)
        self.value = value


class StoreRefuses(GuardProblem, Conflict):
    """The store cannot promise what the action needs."""

    code = "guard-store-refuses"
    title = "The store cannot keep this promise"
    help = "Use a durable store for irreversible actions, or change the named setting."


class NotDone(Exception):  # noqa: N818 - a statement about the effect, raised by the action itself
    """Raised by an action: the effect certainly did not happen, so its key is free and a retry is safe."""

    def __init__(self, *args: object, retry_after: float | None = None) -> None:
        """``retry_after`` is in seconds."""
        super().__init__(*args)
        self.retry_after = retry_after


class DoneFailed(Exception):  # noqa: N818 - a statement about the effect, raised by the action itself
    """Raised by an action: it failed for good (a card was declined); the failure is kept as the key's answer."""
