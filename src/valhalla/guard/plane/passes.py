"""Requests that a policy holds: people let the caller pass for a while, on the same list as every other hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from valhalla.features.security.policies.contracts import Deed
from valhalla.guard.guard import Guard
from valhalla.guard.outcome import Outcome
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Problem

Grant = Callable[[str, str, float], Awaitable[Mapping[str, Any]]]
_DAY = 86_400.0


class Passes:
    """Holds ``policy.pass`` per policy and key; once approved, ``grant`` lets that key pass that policy."""

    def __init__(self, guard: Guard, grant: Grant, clock: Clock) -> None:
        """Declare the action.

        Raises:
            GuardProblem: its declaration is not accepted.
        """
        self._guard = guard
        self._clock = clock

        async def let_pass(policy: str, principal: str, seconds: float, what: str) -> Mapping[str, Any]:
            del what
            return await grant(policy, principal, seconds)

        self._action = guard.action(
            "policy.pass",
            effect="idempotent",
            approval="1 of anyone",
            expires_in=_DAY,
            # which of the held requests was the first is no part of what is approved
            fingerprint=_meaning,
            failures=Problem,
        )(let_pass)

    async def ask(self, deed: Deed) -> Mapping[str, Any]:
        """Put a held request on the list, once per policy, key and duration; return what is told of it."""
        policy, principal = deed.policy, deed.principal
        if principal is None:
            return {}
        turn = int(self._clock.now().timestamp() // max(policy.duration, 60.0))
        call = self._action.options(key=f"{policy.name}:{principal.id}:{turn}")
        with self._guard.acting(principal.id):
            outcome: Outcome[Any] = await call.outcome(policy.name, principal.id, policy.duration, deed.what)
        return {"hold": outcome.id}


def _meaning(policy: str, principal: str, seconds: float, what: str) -> tuple[Any, ...]:
    del what
    return (policy, principal, seconds)
