"""The guard's words: states, effects, verdicts, and what ``begin`` answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

State = Literal[
    "held",
    "approved",
    "denied",
    "expired",
    "cancelled",
    "superseded",
    "stale",
    "executing",
    "succeeded",
    "failed",
    "not_done",
    "indeterminate",
]
Mode = Literal["live", "dry", "sandbox"]

# states after which the same key names a new effect: nothing was done and nobody said no
RELEASED: Final = frozenset({"not_done", "expired", "cancelled", "superseded", "stale"})
# states that wait for people or for their dispatch
OPEN: Final = frozenset({"held", "approved"})
# states that answer a repetition of the same call
SETTLED: Final = frozenset({"succeeded", "failed"})


class Effect(StrEnum):
    """What a repetition or a dry run of the action may do to the world; undeclared means ``IRREVERSIBLE``."""

    NONE = "none"
    REVERSIBLE = "reversible"
    IDEMPOTENT = "idempotent"
    IRREVERSIBLE = "irreversible"

    @property
    def runs_dry(self) -> bool:
        """Whether a dry run may call it."""
        return self is Effect.NONE or self is Effect.REVERSIBLE

    @property
    def repeatable(self) -> bool:
        """Whether it may run again when nobody knows if it ran."""
        return self is Effect.NONE or self is Effect.IDEMPOTENT


class Verdict(StrEnum):
    """What policy says about a proposed action, decided before the store is asked."""

    RUN = "run"
    HOLD = "hold"
    DENY = "deny"


class Began(StrEnum):
    """What ``begin`` found or did."""

    EXECUTE = "execute"
    REPLAY = "replay"
    IN_PROGRESS = "in_progress"
    HELD = "held"
    APPROVED = "approved"
    DENIED = "denied"
    LIMITED = "limited"
    CAPPED = "capped"
    KEY_REUSE = "key_reuse"
    INDETERMINATE = "indeterminate"
