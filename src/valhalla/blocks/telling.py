"""What is told about how a guarded call ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from valhalla.guard.blocks.dry_run_lock import READING
from valhalla.guard.outcome import Outcome, Status
from valhalla.kernel.alerting import Severity

# what simply went through, waits for its twin, or was only planned alerts nobody
_ALERTS: Final[Mapping[Status, Severity]] = {
    "failed": "error",
    "not_done": "error",
    "indeterminate": "critical",
    "limited": "warning",
    "denied": "warning",
    "held": "info",
}
_LEVELS: Final[Mapping[Status, str]] = {
    "failed": "error",
    "not_done": "error",
    "indeterminate": "critical",
    "limited": "warning",
    "denied": "warning",
}
_LOCKED: Final = "dry_run_blocked"


def severity_of(outcome: Outcome[Any]) -> Severity | None:
    """Return how bad it is that a call ended so; ``None``: nobody has to know."""
    return _ALERTS.get(outcome.status)


def level_of(outcome: Outcome[Any]) -> str:
    """Return the level of the line about it."""
    return _LEVELS.get(outcome.status, "info")


def noted_as(outcome: Outcome[Any]) -> str:
    """Return what the lock's log calls it."""
    if outcome.status == "planned":
        return _LOCKED
    return "executed" if outcome.ok else "error" if outcome.error is not None else outcome.status


def effect_of(name: str, *, reversible: bool) -> str:
    """Return the effect of an action that nobody declared, by its name: what is not known is irreversible."""
    if reversible:
        return "none" if name.startswith(READING) else "reversible"
    return "irreversible"
