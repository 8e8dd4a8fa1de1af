"""From an answer to a result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from valhalla.kernel.problems import Problem
from valhalla.kit.checks.contracts import Check, Result, Verdict
from valhalla.kit.checks.flight import Flight
from valhalla.kit.redact import text

_REASON: Final = 300


@dataclass(slots=True, eq=False)
class Part:
    """One registered check, its call under way and its last answer."""

    name: str
    check: Check
    critical: bool
    timeout: float
    cache: float
    help: str | None
    flight: Flight | None = None
    result: Result | None = None
    answered: float | None = None
    fresh_until: float = float("-inf")


def judged(part: Part, outcome: object, seconds: float, *, messages: bool) -> Result:
    """Turn an answer into a result; what is neither yes nor no is a failure, not a guess."""
    known = Result(part.name, False, None, seconds, 0.0, part.critical, part.help)
    match outcome:
        case Verdict(ok=bool()):
            reason = None if outcome.reason is None else text(str(outcome.reason), limit=_REASON)
            if not outcome.ok and reason is None:
                reason = "it failed"
            return replace(known, ok=outcome.ok, reason=reason, age=max(0.0, outcome.age))
        case bool():
            return replace(known, ok=outcome, reason=None if outcome else "it failed")
        case Problem():
            return replace(known, reason=text(outcome.detail, limit=_REASON))
        case BaseException():
            words = type(outcome).__name__
            if messages and (said := str(outcome)):
                words = f"{words}: {text(said, limit=_REASON)}"
            return replace(known, reason=words)
        case _:
            return replace(known, reason=f"it answered {type(outcome).__name__}, which is neither true nor false")
