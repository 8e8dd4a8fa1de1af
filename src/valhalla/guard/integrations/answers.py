"""What a model is told about a tool call that gave no value: what is so, and what to do about it."""

from __future__ import annotations

import math
from typing import Any

from valhalla.guard.contracts import Record
from valhalla.guard.errors import Held
from valhalla.guard.outcome import Outcome
from valhalla.kit import redact


def tell(outcome: Outcome[Any]) -> str:  # noqa: PLR0911 - one line per status
    """Return the answer. It never invites a repetition of what may have happened."""
    reason = redact.text(outcome.reason or "no reason was given", limit=300)
    if isinstance(outcome.error, Held) and outcome.error.id is not None:
        # its own hold, or that of an action inside
        return waits(outcome.error.id)
    match outcome.status:
        case "limited":
            wait = f" Earliest next try: in {math.ceil(outcome.retry_after)} s." if outcome.retry_after else ""
            return f"NOT DONE: {reason}.{wait} Do not try it another way."
        case "in_progress":
            return "RUNNING: this very call is being done by another worker. Do not start it again."
        case "indeterminate":
            return (
                f"UNKNOWN: nobody can say whether this was done (action {outcome.id}). "
                "Do not repeat it; tell the user that a person must look into it."
            )
        case "failed":
            return f"FAILED for good: {reason}. Repeating it gives the same answer."
        case "not_done":
            return f"NOT DONE: {reason}. Nothing happened; it may be tried again."
        case "planned":
            return "NOT DONE: this is a dry run. The call is noted in the plan."
        case _:
            return f"NOT DONE: {reason}. Do not repeat it and do not try it another way."


def waits(id_: str | None) -> str:
    """Return the answer of a call that waits for people."""
    return (
        f"NOT DONE YET: people must approve this first (request {id_}). It will be done once, when they have. "
        "Do not repeat it or try it another way; tell the user that it waits."
    )


def over(record: Record | None) -> str:
    """Return the answer of a call whose hold ended without a decision."""
    state = record.state if record else "gone"
    return f"NOT DONE: the request for approval is {state}. Nothing will come of it; ask the user whether to ask again."
