"""Executes admin actions as guarded ones: once per key, held where people must agree, never twice after a crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from valhalla.features.operations.admin.contracts import WRITE, AdminAction, Done, Order, Status
from valhalla.features.operations.admin.errors import AdminActionFailed
from valhalla.features.security.actions.contracts import LASTS, FindTerms, Terms, declared
from valhalla.guard.actions import Action
from valhalla.guard.contracts import Scan
from valhalla.guard.errors import GuardProblem, NotDone
from valhalla.guard.guard import Guard
from valhalla.guard.outcome import Outcome
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Forbidden, Problem, Unavailable

PREFIX: Final = "admin."
_SHOWN: Final = 200


class AdminGuard:
    """The executor of the admin API, over the control plane's guard."""

    def __init__(self, guard: Guard, find: Callable[[str], Principal | None]) -> None:
        """``find`` says who a client is now: rights that were lost since a hold began hold no more."""
        self._guard = guard
        self._find = find
        self._actions: dict[str, Action[..., Any]] = {}
        self._terms: FindTerms = _declared

    def declare(self, action: AdminAction) -> None:
        """Make an action known.

        Raises:
            GuardProblem: its declaration is not accepted.
        """

        async def act(
            arguments: Mapping[str, Any], by: str, reason: str, operation: str, requested: bool = False
        ) -> Mapping[str, Any]:
            principal = self._find(by)
            if principal is None:
                raise Forbidden("who asked for it has no valid key any more")
            principal.require(WRITE)
            principal.require(action.scope)
            try:
                return await action.run(Order(operation, principal, arguments, reason))
            except Unavailable as problem:
                # nothing was changed: the key is free, and the same request may come again
                raise NotDone(problem.detail, retry_after=problem.retry_after) from problem

        def terms(
            arguments: Mapping[str, Any], by: str, reason: str, operation: str, requested: bool = False
        ) -> Terms | None:
            del reason, operation
            return self._terms(action, arguments, by, requested)

        def approval(*call: Any) -> str | None:
            found = terms(*call)
            return None if found is None else found.approval

        def expires_in(*call: Any) -> float:
            found = terms(*call)
            return LASTS if found is None else found.expires_in

        self._actions[action.name] = self._guard.action(
            PREFIX + action.name,
            effect=action.effect,
            approval=approval,
            expires_in=expires_in,
            # why, and under which number, is no part of what is done
            fingerprint=_meaning,
            failures=Problem,
        )(act)

    def knows(self, name: str) -> bool:
        """Say whether there is an admin action of this name."""
        return name in self._actions

    def bind(self, terms: FindTerms) -> None:
        """Ask ``terms`` who must approve, of every call and again before what was approved is executed."""
        self._terms = terms

    async def execute(self, action: AdminAction, order: Order, key: str | None) -> Done:
        """Run an action, once per ``key`` of a principal.

        Raises:
            Problem: it was refused, or failed.
        """
        return await self._call(action, order, key, requested=False)

    async def propose(self, action: AdminAction, order: Order, key: str | None) -> Done:
        """Hold an action for people, also one that needs nobody's approval when it is executed directly.

        Raises:
            Problem: it was refused.
        """
        return await self._call(action, order, key, requested=True)

    async def _call(self, action: AdminAction, order: Order, key: str | None, *, requested: bool) -> Done:
        by = order.principal.id
        call = self._actions[action.name].options(key=None if key is None else f"{by}:{key}")
        with self._guard.acting(by):
            outcome: Outcome[Any] = await call.outcome(dict(order.arguments), by, order.reason, order.id, requested)
        statuses: dict[str, Status] = {"succeeded": "succeeded", "replayed": "replayed", "held": "held"}
        status = statuses.get(outcome.status)
        if status == "held" and outcome.id is not None:
            return Done("held", None, outcome.id)
        if status is not None and outcome.ok:
            return Done(status, outcome.value)
        raise _problem(outcome)

    async def execute_approved(self) -> int:
        """Run what was approved since, whoever asked for it; return how many."""
        return len(await self._guard.adispatch(20))

    async def waiting(self) -> int:
        """Return how many actions wait for people, 200 at most."""
        return len((await self._guard.store.ascan(Scan("open", limit=_SHOWN))).records)


def _declared(action: AdminAction, arguments: Mapping[str, Any], by: str, requested: bool) -> Terms | None:
    del arguments, by
    return declared(action, requested=requested)


def _meaning(
    arguments: Mapping[str, Any], by: str, reason: str, operation: str, requested: bool = False
) -> tuple[Any, ...]:
    del reason, operation, requested
    return (dict(arguments), by)


def _problem(outcome: Outcome[Any]) -> Problem:
    error = outcome.error
    if isinstance(error, NotDone) and isinstance(error.__cause__, Problem):
        error = error.__cause__
    if isinstance(error, GuardProblem | Problem):
        return error
    return AdminActionFailed(f"it ended as '{outcome.status}'", outcome=outcome.status, id=outcome.id)
