"""Dry runs, plans, and the one application of a plan."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from valhalla.guard.binding import Binder
from valhalla.guard.calls import Call, asked
from valhalla.guard.context import CURRENT, Context
from valhalla.guard.contracts import Effect
from valhalla.guard.declaration import Declaration
from valhalla.guard.engine import perform
from valhalla.guard.errors import StalePlan
from valhalla.guard.fingerprint import hasher
from valhalla.guard.outcome import Outcome
from valhalla.guard.plans import Dry, Grants, Plan, tree_digest
from valhalla.guard.quorum import parse

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard

PLAN: Final = "guard.plan"


class Planning:
    """The part of a guard that rehearses and applies."""

    @property
    def _guard(self) -> Guard:
        return cast("Guard", self)

    @contextmanager
    def dry_run(self) -> Generator[Dry]:
        """Let nothing happen inside: actions are noted in ``nodes``; those declared to leave nothing behind run."""
        outer = CURRENT.get()
        dry = Dry()
        scope = outer.scope.within(mode="dry", recorder=dry)
        token = CURRENT.set(Context(outer.id, outer.parent, scope, outer.generation))
        try:
            yield dry
        finally:
            CURRENT.reset(token)

    def plan(self, function: Callable[..., Any], /, *args: Any, approval: str | None = None, **kwargs: Any) -> Plan:
        """Run ``function`` dry and return what it would do; ``approval`` says who must approve the tree."""
        run = functools.partial(function, *args, **kwargs)
        with self.dry_run() as dry:
            value, error = None, None
            try:
                value = run()
            except Exception as raised:  # noqa: BLE001 - the plan tells where it stopped
                error = raised
        return self._planned(dry, run, value, error, approval)

    async def aplan(
        self, function: Callable[..., Awaitable[Any]], /, *args: Any, approval: str | None = None, **kwargs: Any
    ) -> Plan:
        """Async twin of ``plan``."""
        run = functools.partial(function, *args, **kwargs)
        with self.dry_run() as dry:
            value, error = None, None
            try:
                value = await run()
            except Exception as raised:  # noqa: BLE001 - the plan tells where it stopped
                error = raised
        return self._planned(dry, run, value, error, approval)

    def _planned(
        self, dry: Dry, run: Callable[[], Any], value: Any, error: Exception | None, approval: str | None
    ) -> Plan:
        if approval is not None:
            parse(approval)
        nodes = tuple(dry.nodes)
        return Plan(next(self._guard.ids), nodes, tree_digest(dry.nodes), dry.coverage, run, value, error, approval)

    def apply(self, plan: Plan, *, wait: float | None = None, outcome: bool = False) -> Any:
        """Run a plan's callable for real, once: every planned action may happen once, anything else is held.

        With an ``approval`` the first call holds the tree (``Held``), and the call after its approval applies it.

        Raises:
            StalePlan: it was applied already, or changed since it was made.
            Held: it waits for approval, or met an action that it does not have.
        """
        done = self._guard.drive(perform(self._guard, self._application(plan, wait)))
        return _applied(plan, done, outcome=outcome)

    async def aapply(self, plan: Plan, *, wait: float | None = None, outcome: bool = False) -> Any:
        """Async twin of ``apply``."""
        done = await self._guard.adrive(perform(self._guard, self._application(plan, wait)))
        return _applied(plan, done, outcome=outcome)

    def _application(self, plan: Plan, wait: float | None) -> Call:
        if tree_digest(list(plan.nodes)) != plan.digest:
            raise StalePlan("the plan was changed after it was made")
        declared = Declaration(
            name=PLAN,
            function=plan.run,
            effect=Effect.IRREVERSIBLE,
            binder=Binder(lambda: None),
            is_async=False,
            hash=hasher(PLAN),
            fingerprint=lambda: plan.digest,
            approval=None if plan.approval is None else parse(plan.approval),
            # its arguments are the tree: who approves it must see it
            shows=lambda: {"plan": [step for node in plan.nodes for step in node.steps()]},
        )
        call = self._guard.prepare(declared, (), {}, asked(plan.id, wait, None))
        call.grants = Grants(plan.nodes, approved=plan.approval is not None)
        return call


def _applied(plan: Plan, done: Outcome[Any], *, outcome: bool) -> Any:
    if done.status == "replayed":
        problem = StalePlan("the plan was applied already", id=plan.id)
        done = Outcome("denied", None, plan.id, problem.detail, None, problem)
    return done if outcome else done.unwrap()
