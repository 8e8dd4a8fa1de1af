"""Guarded actions as Celery tasks: a task that is delivered twice, or whose worker dies, has one effect.

>>> refund_task = guarded_task(app, guard, refund, principal="billing")
>>> refund_task.delay("B-1", 900)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from valhalla.guard.errors import GuardProblem, HoldGone
from valhalla.guard.integrations.outer import Outer
from valhalla.guard.outcome import Outcome
from valhalla.guard.words import RELEASED
from valhalla.kernel.problems import Unavailable

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard

# Celery has no types: it is ``Any`` from here on
_errors: Any = import_module("celery.exceptions")

HELD = "HELD"
"""The state of a task that waits for people; its meta has ``hold`` and ``detail``."""
_AGAIN = frozenset({"limited", "in_progress"})


def guarded_task(
    app: Any,
    guard: Guard,
    action: Callable[..., Any],
    *,
    principal: str | Callable[[Any], str] | None = None,
    poll: float = 10.0,
    **options: Any,
) -> Any:
    """Make a task of an action; ``options`` are those of ``app.task``.

    An action without a key has the task's id as its key, which stays the same when the task is delivered or tried
    again. So the message is acknowledged late, and a worker that dies is no loss; a guard whose rows live in one
    process cannot know that, so give it a store on disk or a server.

    A held task is looked at again every ``poll`` seconds, in the state ``HELD``, until people have decided; one that
    met a limit, or its own first delivery, comes again after ``retry_after``. Every other refusal fails the task
    with the guard's problem. ``principal`` is who asks: a name, or a function of the task's request.
    """
    outer = Outer(guard, action)
    function = outer.declared.function

    def run(task: Any, *args: Any, **kwargs: Any) -> Any:
        who = principal(task.request) if callable(principal) else principal or f"task:{task.name}"
        with guard.acting(who, correlation=task.request.root_id):
            try:
                _check_open(outer, task, args, kwargs)
                outcome = outer.outcome(task.request.id, args, kwargs)
            except Unavailable as error:
                if task.request.is_eager:
                    raise
                # whatever the store still did, the next delivery meets it
                raise task.retry(exc=error, countdown=error.retry_after or poll) from error
            return _answer(task, outcome, poll)

    signature = inspect.signature(function)
    first = inspect.Parameter("task", inspect.Parameter.POSITIONAL_ONLY)
    face: Any = run
    face.__signature__ = signature.replace(parameters=[first, *signature.parameters.values()])
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(face, name, getattr(function, name))
    settings: dict[str, Any] = {"acks_late": True, "reject_on_worker_lost": True, "max_retries": None, "shared": False}
    return app.task(face, bind=True, **(settings | options))


def _check_open(outer: Outer, task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Stop a task that was held once, if its hold ended without a decision: it would ask people for ever.

    Raises:
        HoldGone: it expired, was cancelled, or does not fit any more.
    """
    if not task.request.retries:
        return
    record = outer.guard.drive(outer.find(task.request.id, args, kwargs))
    if record is not None and record.state in RELEASED - {"not_done"}:
        raise HoldGone(f"the hold of {record.name} is {record.state}", id=record.id)


def _answer(task: Any, outcome: Outcome[Any], poll: float) -> Any:
    problem = outcome.error
    if task.request.is_eager or not isinstance(problem, GuardProblem):
        # an eager task has nobody to come back to it
        return outcome.unwrap()
    if outcome.status == "held":
        # before the next look is sent: that one may end while this one still writes
        task.update_state(state=HELD, meta={"hold": outcome.id, "detail": problem.detail})
        task.retry(exc=problem, countdown=poll, throw=False)
        raise _errors.Ignore
    if outcome.status in _AGAIN and outcome.retry_after is not None:
        raise task.retry(exc=problem, countdown=outcome.retry_after)
    return outcome.unwrap()
