"""Declaring and calling: the decorator, direct calls, dry runs, plans and their application."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Protocol, TypeVar, cast

from valhalla.guard.calls import asked
from valhalla.guard.declaration import Declaration, declare
from valhalla.guard.errors import BadDeclaration, GuardProblem, NameTaken
from valhalla.guard.fused import fuse, fuse_async
from valhalla.guard.outcome import Outcome
from valhalla.guard.planning import Planning
from valhalla.guard.retry import Budget, Retry, as_retry

if TYPE_CHECKING:
    from valhalla.guard.governor import Decision, Governor
    from valhalla.guard.governor.plan import Terms
    from valhalla.guard.guard import Guard

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_MAX_RUNS: Final = 1024


class Action(Protocol, Generic[P, R_co]):
    """A declared function: call it as before. ``outcome`` answers with an ``Outcome`` instead of raising."""

    declaration: Declaration
    __name__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the function's value.

        Raises:
            GuardProblem: the effect was not called, or its end is not known.
        """
        ...

    def outcome(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return an ``Outcome`` (a coroutine of one, if the function is async)."""
        ...

    def options(
        self,
        *,
        key: str | None = None,
        wait: float | None = None,
        deadline: float | None = None,
        retries: int | Retry | None = None,
    ) -> Action[P, R_co]:
        """Return the same action with a key, seconds to wait for approval, a deadline in seconds, or other retries."""
        ...


class Actions(Planning):
    """The registry of a guard and everything that calls by it."""

    if TYPE_CHECKING:
        governor: Governor

    def __init__(self) -> None:
        self._registry: dict[str, Declaration] = {}
        self._options: dict[str, Mapping[str, Any]] = {}
        self._runs: dict[tuple[str, Callable[..., Any]], Declaration] = {}
        self._counters: dict[tuple[str, str, float], Any] = {}
        self._registering = threading.Lock()

    def action(self, name: str, **options: Any) -> Callable[[Callable[P, R]], Action[P, R]]:
        """Declare a function, sync or async, as the action ``name``.

        Options, all with names (durations in seconds; callables get the function's arguments):

        * ``effect`` ``"irreversible"`` (what is not declared), ``"reversible"``, ``"idempotent"`` or ``"none"``
        * ``key`` names one intended effect: an argument's name or a callable; ``fingerprint`` a callable that picks the
          arguments that matter; ``ttl``, ``tombstone`` how long the result, and then the fact alone, is kept
        * ``limit`` ``"100/hour"``, several of them, or the name of a governor's resource; ``subject``, ``cost``
        * ``retries`` a number or a ``Retry``; ``retry_on`` errors after which it is safe; ``provider_key=True`` says
          that the function passes ``current().idempotency_key`` on; ``failures`` errors that are the provider's answer
        * ``timeout``, ``breaker`` (a ``Breaker`` or its threshold), ``lease``, ``heartbeat``
        * ``approval`` ``"2 of finance"`` or a callable that returns that or ``None``; ``expires_in``
        * ``simulate`` answers in a dry run, ``reconcile`` finds out what happened, ``redact`` further secret names
        * ``transactional`` the argument that is the caller's own connection

        Raises:
            BadName, BadDeclaration: the declaration is not accepted.
            NameTaken: another function has the name.
        """

        if callable(name):
            raise BadDeclaration("an action has a name", help="Write @guard.action('payment', ...), not @guard.action.")

        def register(function: Callable[P, R]) -> Action[P, R]:
            declared = self._declare(name, function, options)
            with self._registering:
                known = self._registry.get(name)
                if known is not None and not _same(known.function, function):
                    raise NameTaken(f"the action {name!r} is {known.function.__qualname__} already")
                self._registry[name] = declared
                self._options[name] = options
            return self._wrap(declared)

        return register

    def _declare(self, name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> Declaration:
        try:
            declared = declare(name, function, **options)
        except TypeError as error:
            raise BadDeclaration(str(error).replace("declare() ", "")) from None
        return self._limit(self._shared(declared, options.get("breaker")), options.get("limit"))

    def _shared(self, declared: Declaration, breaker: object) -> Declaration:
        """Let everything that is declared under one name count together: each ``run`` with options declares anew."""
        counted: list[tuple[str, float, Any]] = []
        if isinstance(breaker, int):
            counted.append(("breaker", breaker, declared.breaker))
        if declared.retry is not None:
            counted.append(("budget", declared.retry.budget, declared.budget))
        changes: dict[str, Any] = {}
        for what, number, new in counted:
            place = (declared.name, what, number)
            known = self._counters.get(place)
            if known is None and len(self._counters) < _MAX_RUNS:
                known = self._counters.setdefault(place, new)
            changes[what] = new if known is None else known
        return _replace(declared, **changes) if changes else declared

    def retried(self, declared: Declaration, retries: int | Retry) -> Declaration:
        """Return the action with other retries; what has the same share as a budget spends the same one.

        Raises:
            BadDeclaration: it is no number and no ``Retry``, or there cannot be so many.
        """
        retry = as_retry(retries)
        if retry is None or not retry.retries:
            return _replace(declared, retry=None, budget=None)
        return self._shared(_replace(declared, retry=retry, budget=Budget(retry.budget)), None)

    def _limit(self, declared: Declaration, limit: object) -> Declaration:
        if limit is None:
            return declared
        if isinstance(limit, str) and "/" not in limit and not limit.strip()[:1].isdigit():
            # a resource of the governor by name; one that it does not know is denied there
            return _replace(declared, resource=limit)
        self.governor.set_limit(declared.name, limit)  # pyright: ignore[reportArgumentType]
        return declared

    def _wrap(self, declared: Declaration) -> Any:
        guard, function = self._guard, declared.function
        call: Any = fuse_async(guard, declared) if declared.is_async else fuse(guard, declared)
        return _dress(functools.update_wrapper(call, function), guard, declared)

    def find_action(self, name: str) -> Declaration | None:
        """Return a registered action."""
        return self._registry.get(name)

    def actions(self) -> tuple[Declaration, ...]:
        """Return every registered action."""
        return tuple(self._registry.values())

    # -- direct calls --------------------------------------------------------------------------------------------------

    def run(
        self,
        name: str,
        function: Callable[..., R],
        /,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        key: str | None = None,
        wait: float | None = None,
        deadline: float | None = None,
        outcome: bool = False,
        **options: Any,
    ) -> R:
        """Call ``function`` as the action ``name``: what is registered under the name holds, ``options`` change it.

        With ``outcome=True`` an ``Outcome`` is returned. A function that is not registered is held and approved like
        any other, but only this caller, or one that repeats the call, can execute it then: a worker cannot find it.
        """
        done = self._guard.outcome(
            self._declared(name, function, options), args, dict(kwargs or {}), asked(key, wait, deadline)
        )
        return cast("R", done if outcome else done.unwrap())

    async def arun(
        self,
        name: str,
        function: Callable[..., Any],
        /,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        key: str | None = None,
        wait: float | None = None,
        deadline: float | None = None,
        outcome: bool = False,
        **options: Any,
    ) -> Any:
        """Async twin of ``run``; ``function`` may be sync if it does not block."""
        done = await self._guard.aoutcome(
            self._declared(name, function, options), args, dict(kwargs or {}), asked(key, wait, deadline)
        )
        return done if outcome else done.unwrap()

    def _declared(self, name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> Declaration:
        known = self._registry.get(name)
        if known is not None and not options and _same(known.function, function):
            return known
        if not options and (found := self._runs.get((name, function))) is not None:
            return found
        declared = self._declare(name, function, {**self._options.get(name, {}), **options})
        if not options and len(self._runs) < _MAX_RUNS:
            self._runs[name, function] = declared
        return declared

    # -- limits --------------------------------------------------------------------------------------------------------

    def bound(self, declared: Declaration) -> Callable[[str, int], Decision]:
        """Return the action's limit check, prepared."""
        return self.governor.bind(declared.resource)

    def definitions(self, declared: Declaration) -> tuple[Any, ...]:
        """Return the limits that a call meets."""
        return self.governor.limits_of(declared.resource) if declared.limited else ()

    def terms(self, declared: Declaration) -> Terms | None:
        """Return the limits in the form for stores that count by themselves; ``None`` if the action has none."""
        return self.governor.terms_of(declared.resource) if declared.limited else None

    def limit_names(self, declared: Declaration) -> tuple[str, ...]:
        """Return the names of the limits that a call would be charged."""
        return tuple(limit.name for limit in self.definitions(declared))


def _dress(call: Any, guard: Guard, declared: Declaration) -> Any:
    """Give the callable its further faces."""

    def outcome(*args: Any, **kwargs: Any) -> Outcome[Any] | Coroutine[Any, Any, Outcome[Any]]:
        return (guard.aoutcome if declared.is_async else guard.outcome)(declared, args, kwargs)

    def options(
        *,
        key: str | None = None,
        wait: float | None = None,
        deadline: float | None = None,
        retries: int | Retry | None = None,
    ) -> Any:
        answer_to = asked(key, wait, deadline)
        meant = declared if retries is None else guard.retried(declared, retries)

        async def acall(*args: Any, **kwargs: Any) -> Any:
            return (await guard.aoutcome(meant, args, kwargs, answer_to)).unwrap()

        def scall(*args: Any, **kwargs: Any) -> Any:
            return guard.outcome(meant, args, kwargs, answer_to).unwrap()

        def told(*args: Any, **kwargs: Any) -> Any:
            return (guard.aoutcome if declared.is_async else guard.outcome)(meant, args, kwargs, answer_to)

        again: Any = functools.update_wrapper(acall if declared.is_async else scall, declared.function)
        again.outcome, again.options, again.declaration = told, options, meant
        return again

    call.outcome, call.options, call.declaration = outcome, options, declared
    return call


def _same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Say whether two functions are the same one, also after a reload of its module."""
    if one is other:
        return True
    names = [(getattr(f, "__module__", None), getattr(f, "__qualname__", None)) for f in (one, other)]
    return names[0] == names[1] and "<" not in str(names[0][1])


def _replace(declared: Declaration, **changes: Any) -> Declaration:
    return dataclasses.replace(declared, **changes)


__all__ = ["Action", "Actions", "GuardProblem"]
