"""What a guarded call came to, as a value: the same type live and dry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar, cast

from msgspec import Struct

from valhalla.guard.contracts import Policies
from valhalla.guard.errors import GuardProblem
from valhalla.kernel.problems import Problem

if TYPE_CHECKING:
    from valhalla.guard.plans import Node

T = TypeVar("T")

Status = Literal[
    "succeeded",
    "replayed",
    "planned",
    "held",
    "denied",
    "limited",
    "in_progress",
    "failed",
    "not_done",
    "indeterminate",
]
_RETURNS: Final = frozenset({"succeeded", "replayed"})


class Outcome(Struct, Generic[T], frozen=True):
    """One call's end. ``value`` is meaningful where ``ok``; ``unwrap`` gives it or raises what the plain call raises.

    ``planned`` is a dry run's answer for an effect that was not called; with ``simulate=`` it has a value.
    ``id`` names the action (or the hold); ``retry_after`` is in seconds; ``coverage`` says what a dry run,
    or a live call in a sealed block, was watched by.
    """

    status: Status
    value: T | None = None
    id: str | None = None
    reason: str | None = None
    retry_after: float | None = None
    error: BaseException | None = None
    plan: Node | None = None
    coverage: Mapping[str, str] = {}
    policies: Policies = ()

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.status in _RETURNS or (self.status == "planned" and self.error is None)

    def unwrap(self) -> T:
        """Return the value.

        Raises:
            GuardProblem: the effect was not called, or its end is not known.
            Exception: what the action itself raised.
        """
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


def refusal(
    status: Status,
    problem: Problem,
    *,
    id: str | None = None,  # noqa: A002 - what it is
    policies: Policies = (),
) -> Outcome[object]:
    """Return the outcome of a call whose effect was not called, tied to the problem that says the same."""
    outcome: Outcome[object] = Outcome(
        status, None, id, problem.detail, problem.retry_after, problem, policies=policies
    )
    if isinstance(problem, GuardProblem):
        problem.outcome = outcome
    return outcome
