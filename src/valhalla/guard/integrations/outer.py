"""A call that comes with an identity of its own: a request's key, a task's id, the id of a model's tool call.

That identity is the idempotency key where the action declares none. It never replaces a declared key: two requests,
or two turns of a model, may mean the same order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from valhalla.guard.calls import Asked
from valhalla.guard.contracts import Page, Record, Scan
from valhalla.guard.declaration import Declaration
from valhalla.guard.errors import BadDeclaration, NotDone
from valhalla.guard.judging import Verdict
from valhalla.guard.outcome import Outcome
from valhalla.guard.steps import Steps
from valhalla.kernel.problems import Problem

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard


class Outer:
    """One action of one guard, as a framework calls it."""

    def __init__(self, guard: Guard, action: Callable[..., Any]) -> None:
        """``action`` is what ``@guard.action(...)`` made.

        Raises:
            BadDeclaration: it is a plain function.
        """
        declared = getattr(action, "declaration", None)
        if not isinstance(declared, Declaration):
            raise BadDeclaration(f"{getattr(action, '__name__', action)!r} is not an action; decorate it first")
        self.guard = guard
        self.declared = declared
        self._action: Any = action

    def _keyed(self, key: str | None) -> Any:
        return self._action if key is None or self.declared.key is not None else self._action.options(key=key)

    def outcome(self, key: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Outcome[Any]:
        """Run the call in this thread, an async action on a loop of its own."""
        told: Any = self._keyed(key).outcome(*args, **kwargs)
        return asyncio.run(told) if self.declared.is_async else told

    async def aoutcome(self, key: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Outcome[Any]:
        """Run the call from an event loop, a sync action in a thread."""
        told: Any = self._keyed(key).outcome
        if self.declared.is_async:
            return await told(*args, **kwargs)
        return cast("Outcome[Any]", await asyncio.to_thread(told, *args, **kwargs))

    def would_hold(self, key: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Say whether the call needs people. What is wrong with it otherwise the call itself will say."""
        try:
            call = self.guard.prepare(self.declared, args, dict(kwargs), Asked(self._own(key)))
            return self.guard.judge(call, None, None).verdict is Verdict.HOLD
        except (Problem, TypeError):
            return False

    def find(self, key: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Steps[Record | None]:
        """Return the row that the call would meet, ``None`` if there is none. For ``guard.drive`` and ``adrive``."""
        call = self.guard.prepare(self.declared, args, dict(kwargs), Asked(self._own(key)))
        page: Page = yield Scan("key", name=self.declared.name, key=call.key)
        return page.records[0] if page.records else None

    def _own(self, key: str | None) -> str | None:
        return None if self.declared.key is not None else key


def gave_up(outcome: Outcome[Any]) -> bool:
    """Say whether the outcome is an exception that the framework should meet as it is.

    Such are cancellations, and unforeseen errors of an effect that certainly did not happen. What the guard or the
    action itself says, and ends that nobody knows, are told instead: frameworks take errors as a reason to try again.
    """
    error = outcome.error
    if error is None or not isinstance(error, Exception):
        return error is not None
    return outcome.status == "not_done" and not isinstance(error, (Problem, NotDone))
