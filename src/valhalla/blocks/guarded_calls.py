"""The one guarded call of an orchestrator: dedup, lock, limits, retries, ledger, and then alert and log."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from valhalla.blocks import telling
from valhalla.blocks.errors import NotInitialized
from valhalla.guard.errors import BadDeclaration, GuardProblem
from valhalla.guard.outcome import Outcome, refusal
from valhalla.guard.retry import Retry
from valhalla.kernel.ids import new_id
from valhalla.kit.correlation import correlated, correlation_id

if TYPE_CHECKING:
    from valhalla.blocks.alert_system import AlertSystem
    from valhalla.blocks.structured_logger import StructuredLogger
    from valhalla.blocks.worker_process import WorkerProcess
    from valhalla.guard.blocks.dry_run_lock import DryRunLock
    from valhalla.guard.blocks.governor_enforcer import GovernorEnforcer
    from valhalla.guard.blocks.retry_backoff_manager import RetryBackoffManager
    from valhalla.guard.guard import Guard

State = Literal["new", "ready", "ended"]


class GuardedCalls:
    """The part of an orchestrator that calls. What decides is the guard; here is only what is told of it."""

    guard: Guard
    governor: GovernorEnforcer
    dry_run_lock: DryRunLock
    retry_manager: RetryBackoffManager
    worker: WorkerProcess
    alert_system: AlertSystem
    logger: StructuredLogger
    _state: State

    def run(
        self,
        name: str,
        fn: Callable[..., Any],
        /,
        *args: Any,
        key: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        resource: str | None = None,
        wait: float | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> Outcome[Any]:
        """Call ``fn(*args)`` under the guard as the action ``name``; return how it ended, live and dry in one type.

        ``key`` names the one effect that is meant (an order's number): its repetition is answered, not done again.
        ``resource`` is the limit that is charged; without it the one called ``name``. An action that is not reversible
        needs a limit. ``options`` are those of ``guard.action`` (``approval``, ``effect``, ``retries``, ``timeout`` …);
        what was declared with ``orchestrator.guard.action`` holds. Failures and denials are alerts.

        Raises:
            NotInitialized: it does not run.
            TypeError: ``fn`` does not take the arguments.
        """
        if inspect.iscoroutinefunction(fn):
            raise BadDeclaration(f"{name} is async", help="Use 'await orchestrator.arun(...)'.")
        with self._called(name, key) as told, self.dry_run_lock.surroundings():
            try:
                told.append(
                    self.guard.run(
                        name, _plain(fn), *args, kwargs=kwargs, key=key, wait=wait, deadline=deadline, outcome=True,
                        **self._options(name, resource, options),
                    )
                )  # fmt: skip
            except GuardProblem as problem:
                told.append(refusal("denied", problem))
        return _ended(told[0])

    async def arun(
        self,
        name: str,
        fn: Callable[..., Any],
        /,
        *args: Any,
        key: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        resource: str | None = None,
        wait: float | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> Outcome[Any]:
        """Async twin of ``run``."""
        with self._called(name, key) as told, self.dry_run_lock.surroundings():
            try:
                told.append(
                    await self.guard.arun(
                        name, _plain(fn), *args, kwargs=kwargs, key=key, wait=wait, deadline=deadline, outcome=True,
                        **self._options(name, resource, options),
                    )
                )  # fmt: skip
            except GuardProblem as problem:
                told.append(refusal("denied", problem))
        return _ended(told[0])

    def submit(self, name: str, fn: Callable[..., Any], /, *args: Any, **named: Any) -> str:
        """Do ``run`` in the worker and return the job's id; the job's result is the ``Outcome``.

        Raises:
            NotInitialized: it does not run.
            WorkerQueueFull: too many jobs wait.
        """
        self._check_ready()
        return self.worker.submit(name, self.run, (name, fn, *args), named)

    def _options(self, name: str, resource: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
        if self.guard.find_action(name) is not None:
            return {**options, **({} if resource is None else {"limit": resource})}
        effect = telling.effect_of(name, reversible=self.dry_run_lock.is_reversible(name))
        chosen: dict[str, Any] = {"effect": effect, **options}
        if resource is not None or chosen["effect"] == "irreversible" or self.governor.get_status(name):
            chosen.setdefault("limit", resource or name)
        manager = self.retry_manager
        chosen.setdefault("retries", Retry(manager.max_retries, base=manager.base_delay, cap=manager.max_delay))
        return chosen

    @contextmanager
    def _called(self, name: str, key: str | None) -> Generator[list[Outcome[Any]]]:
        self._check_ready()
        told: list[Outcome[Any]] = []
        id_ = correlation_id() or new_id()
        began = time.perf_counter()
        with correlated(id_), self.guard.acting(correlation=id_):
            yield told
            self._tell(name, key, told[0], time.perf_counter() - began)

    def _tell(self, name: str, key: str | None, outcome: Outcome[Any], seconds: float) -> None:
        if outcome.status == "limited":
            self.governor.note_denial(name)
        self.dry_run_lock.note(name, telling.noted_as(outcome), outcome=outcome.status, id=outcome.id)
        reason = outcome.reason or outcome.status
        facts = {"id": outcome.id, "key": key, "status": outcome.status}
        self.logger.log_action(
            name, telling.level_of(outcome), **facts, reason=outcome.reason, seconds=round(seconds, 6)
        )
        severity = telling.severity_of(outcome)
        if severity is not None:
            self.alert_system.alert(name, reason, severity, {**facts, "correlation_id": correlation_id()})

    def _check_ready(self) -> None:
        if self._state != "ready":
            raise NotInitialized(f"the orchestrator is {'cleaned up' if self._state == 'ended' else 'not initialized'}")


def _plain(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a declared action: the guard would guard it twice."""
    declared = getattr(fn, "declaration", None)
    return fn if declared is None else declared.function


def _ended(outcome: Outcome[Any]) -> Outcome[Any]:
    # Ctrl-C, an exit and a cancelled task (none of which is an Exception) end whoever called, too
    if outcome.error is not None and not isinstance(outcome.error, Exception):
        raise outcome.error
    return outcome
